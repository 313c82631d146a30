"""Translation of clauses from Spanish into English: data, environment, what is measured."""
