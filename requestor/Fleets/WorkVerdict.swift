/// What whoever gives the jobs finds out about the answers of a provider after they have come.
public enum WorkVerdict: Sendable, Hashable {
    /// An answer is being looked at: what is asked for the work is not to be accepted before that is over. Each is followed
    /// by a ``closed``.
    case open
    /// An answer is not looked at any more.
    case closed
    /// It gave wrong values, or refused what others can do: it is to be left and remembered.
    /// - isPaid: whether what it did before is worth its money.
    case wrong(String, isPaid: Bool)
}

extension FleetSession {
    public func judge(_ verdict: WorkVerdict, of provider: Provider) async {}
}
