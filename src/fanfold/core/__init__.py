"""The ground: records, the fan, scopes, and the clock. It imports nothing of fanfold but its errors."""
