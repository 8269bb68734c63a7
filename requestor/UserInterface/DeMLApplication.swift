import Application

/// Everything that can be asked of DeML. Hummingbird calls its server an application, too; this is the other one.
public typealias DeMLApplication = Application
