"""The live view: a lab as a picture that moves, on a terminal and in a browser.

`frame` is what is shown and `picture` makes it of a view; both are pure, as is `sketch`, which draws it with characters.
`screen` and its dialogs are the terminal's program, `page.html` is the browser's. The agent makes frames (`agent.feed`) while
somebody looks, and not otherwise.
"""
