"""Configuration: its layers, its keys, where each value comes from, and the keys of providers."""

from turnlog.runtime.config.explain import Setting, explain
from turnlog.runtime.config.home import turnlog_home
from turnlog.runtime.config.load import load_config
from turnlog.runtime.config.schema import Config, ProviderConfig

__all__ = ["Config", "ProviderConfig", "Setting", "explain", "load_config", "turnlog_home"]
