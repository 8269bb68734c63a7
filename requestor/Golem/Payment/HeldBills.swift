/// Bills that wait while somebody finds out whether the work was right. Pure: events in, bills out; the time comes with
/// the events.
///
/// A debit note has a deadline, after which its provider leaves: it waits for a part of that and no longer. An invoice
/// waits until the work is judged.
package struct HeldBills: Sendable {
    package enum Bill: Sendable, Equatable {
        case note(DebitNote)
        case invoice(Invoice)
    }

    private struct Waiting: Sendable {
        var bill: Bill
        var provider: NodeID
        var until: Timestamp?
    }

    /// Works of a provider that are being looked at, and how long its notes may wait.
    private var open: [NodeID: (count: Int, patience: Duration)] = [:]
    private var waiting: [Waiting] = []

    package init() {}

    package mutating func hold(_ provider: NodeID, patience: Duration) {
        open[provider] = ((open[provider]?.count ?? 0) + 1, patience)
    }

    /// - Returns: bills that need not wait any more, in the order in which they came.
    package mutating func release(_ provider: NodeID) -> [Bill] {
        guard let (count, patience) = open[provider] else { return [] }
        open[provider] = count > 1 ? (count - 1, patience) : nil
        return count > 1 ? [] : take { $0.provider == provider }
    }

    /// Nothing is looked at any more.
    package mutating func releaseAll() -> [Bill] {
        open = [:]
        return take { _ in true }
    }

    /// Whether a bill has to wait; it is kept then.
    package mutating func keep(_ bill: Bill, of provider: NodeID, at now: Timestamp) -> Bool {
        guard let (_, patience) = open[provider] else { return false }
        var until: Timestamp?
        if case .note = bill { until = now + patience }
        waiting.append(Waiting(bill: bill, provider: provider, until: until))
        return true
    }

    /// Bills that cannot wait longer.
    package mutating func overdue(at now: Timestamp) -> [Bill] {
        take { $0.until.map { $0 <= now } ?? false }
    }

    private mutating func take(_ isOver: (Waiting) -> Bool) -> [Bill] {
        let found = waiting.filter(isOver).map(\.bill)
        waiting.removeAll(where: isOver)
        return found
    }
}
