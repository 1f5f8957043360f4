"""From evidence to a cause and what to do about it. Pure: values in, values out."""
