import Jobs

/// A machine, or the slot on this machine that plays one.
public struct Provider: Sendable, Hashable, Codable {
    /// What tells it from all others: the node id on Golem, "local-2" here.
    public var id: String
    /// What a person reads.
    public var name: String

    public init(id: String, name: String) {
        self.id = id
        self.name = name
    }
}

/// What is known of an attempt while it goes on.
public enum JobProgress: Sendable, Hashable {
    /// A machine has taken the job; its time counts from here.
    case started(Provider)
    /// "upload", "train", "download", …
    case stage(String)
    /// An epoch is done.
    case epoch(EpochProgress)
}
