module attributes {rt.profile_ops = [{name = "a"}]} {}
