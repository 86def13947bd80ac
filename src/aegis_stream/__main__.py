"""`python -m aegis_stream` is `aegis`."""

from .cli.main import main

if __name__ == "__main__":
    main()
