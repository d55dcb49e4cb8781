"""Stands in for Interbotix' package in tests."""
