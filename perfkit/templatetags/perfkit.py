"""`{% load perfkit %}`: the tag `perfcache`, which keeps a part of a page."""

from __future__ import annotations

from django import template

from perfkit.caching.responses.fragments import parsed_fragment

register = template.Library()
register.tag("perfcache", parsed_fragment)
