"""The Objective-C runtime, Foundation, Metal and mps device that tests on Linux run with."""
