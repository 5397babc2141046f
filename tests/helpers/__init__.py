"""What several test files share: written files, cases, stand-ins and networks in numpy."""
