"""The demonstration: two weeks of water demand, from landed data to forecasts out of production, on a local cloud."""
