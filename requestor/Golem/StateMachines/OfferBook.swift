/// Offers that may be taken, the best first. Pure.
///
/// It keeps the best `capacity` of all that come, so that a market of any size costs bounded memory, and a time that grows
/// with its size and the logarithm of the capacity. One node may have several offers. A provider publishes its offer anew
/// after each agreement and when it starts; the daemon may tell of the old one for a while, in any order, and nobody answers
/// for it. So the newest four of a node that say the same are kept, and where one leads nowhere there are the others.
package struct OfferBook: Sendable {
    package struct Entry: Sendable, Equatable {
        package var proposal: ProposalID
        package var provider: NodeID
        package var name: String
        /// Expected cost of the work; smaller is better.
        package var score: Double
        /// The same for two offers of one node that say the same.
        package var terms: Int
        /// How often the provider has failed; those that have come last.
        package var failures: Int

        /// The number of the offer, in the order in which they come; the newest of equal ones is the best.
        fileprivate var arrival = 0

        package init(
            proposal: ProposalID, provider: NodeID, name: String, score: Double, terms: Int, failures: Int
        ) {
            self.proposal = proposal
            self.provider = provider
            self.name = name
            self.score = score
            self.terms = terms
            self.failures = failures
        }

        fileprivate var rank: (Int, Double, NodeID, Int) { (failures, score, provider, -arrival) }
    }

    package private(set) var entries: [Entry] = []
    private var ofProvider: [NodeID: [Entry]] = [:]
    private var arrivals = 0
    private let capacity: Int
    /// A node may not fill the book.
    private let capacityOfOne = 8
    private let capacityOfAlike = 4

    package init(capacity: Int) {
        self.capacity = capacity
    }

    package var isEmpty: Bool { entries.isEmpty }

    /// Takes an offer in; returns the proposals that are kept no more, the new one perhaps among them.
    package mutating func add(_ entry: Entry) -> [ProposalID] {
        var gone: [ProposalID] = []
        var entry = entry
        arrivals += 1
        entry.arrival = arrivals
        let known = ofProvider[entry.provider] ?? []
        // The daemon may tell an event twice.
        if let same = known.first(where: { $0.proposal == entry.proposal }) { remove(same) }
        let others = known.filter { $0.proposal != entry.proposal }
        let alike = others.filter { $0.terms == entry.terms }
        let isFull = others.count >= capacityOfOne
        if let oldest = alike.count >= capacityOfAlike ? alike.first : isFull ? others.first : nil {
            remove(oldest)
            gone.append(oldest.proposal)
        }
        if entries.count >= capacity, let worst = entries.last {
            guard entry.rank < worst.rank else { return gone + [entry.proposal] }
            remove(worst)
            gone.append(worst.proposal)
        }
        entries.insert(entry, at: position(of: entry))
        ofProvider[entry.provider, default: []].append(entry)
        return gone
    }

    package mutating func remove(_ entry: Entry) {
        let index = position(of: entry)
        guard index < entries.count, entries[index].proposal == entry.proposal else { return }
        entries.remove(at: index)
        ofProvider[entry.provider]?.removeAll { $0.proposal == entry.proposal }
        if ofProvider[entry.provider]?.isEmpty == true { ofProvider[entry.provider] = nil }
    }

    package func offers(of provider: NodeID) -> [Entry] { ofProvider[provider] ?? [] }

    package mutating func removeAll(of provider: NodeID) -> [ProposalID] {
        let all = offers(of: provider)
        for entry in all { remove(entry) }
        return all.map(\.proposal)
    }

    /// A provider has failed: its offers come after those of providers that have not.
    package mutating func failed(_ provider: NodeID, failures: Int) {
        let all = offers(of: provider)
        for entry in all { remove(entry) }
        for var entry in all {
            entry.failures = failures
            _ = add(entry)
        }
    }

    private func position(of entry: Entry) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].rank < entry.rank { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
