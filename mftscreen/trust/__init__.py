"""Errors to expect: from where a structure lies among training rows to an interval."""
