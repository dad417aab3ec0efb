"""Where the script ``graphkit`` begins: Ctrl-C ends it with 130 and without a traceback, also while it imports and ends."""

INTERRUPTED = 130


def entry() -> int:
    """Run the command line.

    Everything is imported in here, ``signal`` too, so that an interrupt is caught from the first moment. When the command is
    done, one ends the process at once; while Python takes itself down, it does nothing.

    Returns:
        The exit code of ``main``.
    """
    try:
        import atexit
        import os
        import signal

        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where a shell said to ignore it
        if ours:
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the first registered runs last
        from graphkit_cli.main import main

        code = main()
        if ours:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    except KeyboardInterrupt:
        import sys

        sys.stderr.write("graphkit: error: interrupted\n")
        return INTERRUPTED
    return code
