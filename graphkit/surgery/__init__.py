"""Model -> Model, one operation a file: the file, the function and the command have the same name."""
