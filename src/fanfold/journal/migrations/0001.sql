-- A journal is a log: what is written is never changed, only forgotten. The order of `seq` is the order of history.
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,       -- run, again, end; call, bill; fan, value, row
    run INTEGER NOT NULL,
    place TEXT NOT NULL,      -- of a run, its key where it was given one
    nth INTEGER NOT NULL,     -- the n-th of its kind there: request, fan, value; of a run, the n-th with its digest
    ordinal INTEGER NOT NULL, -- of a call, its draw's
    digest BLOB NOT NULL,     -- of a call, its request; of a run, its key; of a value, its input
    at REAL NOT NULL,         -- seconds since 1970
    body TEXT NOT NULL,       -- JSON
    checksum BLOB NOT NULL
) STRICT;

CREATE INDEX entries_by_run ON entries (run);
CREATE INDEX runs_by_digest ON entries (digest, nth) WHERE kind IN ('run', 'again');

-- For people with a SQL shell; the program does not read these.
CREATE VIEW runs AS
    SELECT
        begun.run,
        json_extract(begun.body, '$.name') AS name,
        begun.place AS key,
        datetime(begun.at, 'unixepoch') AS began,
        (SELECT json_extract(body, '$.how') FROM entries
            WHERE run = begun.run AND kind = 'end' ORDER BY seq DESC LIMIT 1) AS how
    FROM entries AS begun WHERE begun.kind = 'run';

CREATE VIEW calls AS
    SELECT
        run, place, nth, ordinal,
        json_extract(body, '$.call.model') AS model,
        json_extract(body, '$.call.state') AS state,
        json_extract(body, '$.call.usage.input_tokens') AS input_tokens,
        json_extract(body, '$.call.usage.output_tokens') AS output_tokens,
        json_extract(body, '$.call.cost.at_least') AS usd_at_least,
        json_extract(body, '$.call.cost.at_most') AS usd_at_most,
        json_extract(body, '$.request.messages') AS messages,
        json_extract(body, '$.reply.texts') AS replies
    FROM entries WHERE kind = 'call';

CREATE VIEW fans AS
    SELECT run, place, nth, json_extract(body, '$.why') AS why, json_extract(body, '$.order') AS folded
    FROM entries WHERE kind = 'fan';
