"""Generation engines that write texts in the policy's place."""
