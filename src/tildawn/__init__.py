"""Tildawn runs unattended AI work: hand it the night, wake to finished work, with proof.

What it is not: code.  This file only names what is public.
"""
