pub struct ObjectServer;
