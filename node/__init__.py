"""One institution's process: training, privacy, store, configuration, command line."""
