"""Operations and bytes of the operators in a trace, from the shapes that it recorded."""
