"""The task: settings in; checked rows, a starting point and deepmd-kit's input out."""
