"""TensorBoard event files, without TensorFlow and without torch."""
