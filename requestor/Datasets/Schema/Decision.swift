import Tensors

/// One thing that was decided about a dataset when it was read: printed before training and kept with the run, so that
/// nothing is guessed silently.
public struct Decision: Sendable, Codable, Equatable {
    /// What it is about: "label", "features".
    public var subject: String
    /// What was decided, and the option that decides otherwise.
    public var text: String
    /// It may well be a mistake.
    public var isWarning: Bool

    public init(_ subject: String, _ text: String, isWarning: Bool = false) {
        self.subject = subject
        self.text = text
        self.isWarning = isWarning
    }
}

package enum Naming {
    /// Names for a message: the nearest to what was sought first, so that it is not lost in a long list.
    static func list(_ names: [String], nearest sought: String? = nil, limit: Int = 30) -> String {
        var names = names
        if let sought, names.count > limit {
            let distances = names.map { distance($0.lowercased(), sought.lowercased()) }
            names = names.indices.sorted { (distances[$0], $0) < (distances[$1], $1) }.map { names[$0] }
        }
        let shown = names.prefix(limit).map(\.quotedForMessage).joined(separator: ", ")
        return names.count > limit ? "\(shown) and \(names.count - limit) more" : shown
    }

    /// The name that was probably meant.
    package static func nearest(_ sought: String, in names: [String]) -> String? {
        let found = names.map { ($0, distance($0.lowercased(), sought.lowercased())) }.min { $0.1 < $1.1 }
        guard let found, found.1 <= max(1, sought.count / 3) else { return nil }
        return found.0
    }

    /// Letters to be changed, put in, left out, or to change places with their neighbour (optimal string alignment); of the
    /// first 64.
    private static func distance(_ first: String, _ second: String) -> Int {
        let (first, second) = (Array(first.prefix(64)), Array(second.prefix(64)))
        var before: [Int] = []
        var row = Array(0...second.count)
        for i in first.indices {
            var next = [i + 1]
            for j in second.indices {
                let change = row[j] + (first[i] == second[j] ? 0 : 1)
                var least = min(row[j + 1] + 1, next[j] + 1, change)
                if i > 0, j > 0, first[i] == second[j - 1], first[i - 1] == second[j] {
                    least = min(least, before[j - 1] + 1)
                }
                next.append(least)
            }
            (before, row) = (row, next)
        }
        return row[second.count]
    }
}
