"""The joining room: settings, wiring, context, operations, house."""
