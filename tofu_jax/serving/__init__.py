"""Answers over HTTP: one model, one graph, one process. Nothing is sent anywhere but to whoever asked.

    schema     what requests and answers hold, and their limits
    batching   a thread that asks the model, for many requests at once
    guard      what every connection is held to: size, time, host name, headers
    app        the paths of the service
    page.html  the page at /, for trying it out
    server     a socket, signals, and the end

FastAPI and uvicorn come with `pip install tofu_jax[serve]`; nothing outside this folder imports them.
"""
