"""One announcement in several formats at once: a tweet, a caption, a story."""

from fanfold import prompt, sections

FORMATS = {
    "tweet": "a tweet of at most 280 characters",
    "caption": "a caption for a photo, with hashtags",
    "story": "a story in three short slides",
}

posts = sections({name: prompt(f"Write {form} from:\n\n{{input}}") for name, form in FORMATS.items()}, name="posts")
