# SPDX-License-Identifier: Apache-2.0
"""Errors, clock, durable files, bytes and text: what every layer stands on."""
