"""What operations are made of: steps that change the ModelProto they are given. The operations copy it first."""
