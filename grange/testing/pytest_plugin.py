"""The pytest plugin of grange: fixtures for tests of grains, all prefixed `grange_`."""
