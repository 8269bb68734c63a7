import Tensors

/// How examples are divided among clients. Written `iid`, `dirichlet:0.3`, `pathological:2`, `quantity:0.5`.
public enum Partition: Sendable, Hashable, CustomStringConvertible {
    /// At random, in parts of equal size (± 1).
    case iid
    /// Each class is divided by proportions drawn from a symmetric Dirichlet distribution: the smaller `alpha`, the
    /// fewer classes a client sees (Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution", 2019).
    case dirichlet(alpha: Double)
    /// Sorted by label, cut into `shardsPerClient` pieces for each client, dealt at random: most clients see
    /// `shardsPerClient` classes (McMahan et al., "Communication-efficient learning", AISTATS 2017, section 3).
    case pathological(shardsPerClient: Int)
    /// At random, the sizes being proportions from a symmetric Dirichlet distribution with parameter `skew`: the
    /// smaller, the more unequal (Li, Diao, Chen, He, "Federated learning on non-IID data silos", ICDE 2022).
    case quantity(skew: Double)
    /// Each client has the rows of one value of a column of a table: a writer, a hospital. The column is no feature.
    case byColumn(String)
    /// Each client has one file of a folder: of shards, tables or texts.
    case byFile

    /// Reads `iid`, `dirichlet:ALPHA`, `pathological[:SHARDS]` (2 without a number), `quantity:SKEW`.
    public init(parsing text: String) throws(DeMLError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let argument = parts.count > 1 ? parts[1] : nil
        switch (parts.first ?? "", argument) {
        case ("iid", nil): self = .iid
        case ("dirichlet", let argument?): self = .dirichlet(alpha: try Self.concentration(argument, text))
        case ("quantity", let argument?): self = .quantity(skew: try Self.concentration(argument, text))
        case ("by_column", let argument?) where !argument.isEmpty: self = .byColumn(argument)
        case ("by_file", nil): self = .byFile
        case ("pathological", nil): self = .pathological(shardsPerClient: 2)
        case ("pathological", let argument?):
            guard let count = Int(argument), count >= 1 else {
                throw Self.unknown(text, "the number of shards a client must be 1 or more")
            }
            self = .pathological(shardsPerClient: count)
        default:
            throw Self.unknown(
                text,
                "known are iid, dirichlet:ALPHA, pathological[:SHARDS], quantity:SKEW, by_column:NAME, by_file")
        }
    }

    public var description: String {
        switch self {
        case .iid: "iid"
        case .dirichlet(let alpha): "dirichlet:\(alpha)"
        case .pathological(let count): "pathological:\(count)"
        case .quantity(let skew): "quantity:\(skew)"
        case .byColumn(let name): "by_column:\(name)"
        case .byFile: "by_file"
        }
    }

    /// Whether the division looks at the labels, so that it makes no sense for regression.
    public var needsLabels: Bool {
        switch self {
        case .iid, .quantity, .byColumn, .byFile: false
        case .dirichlet, .pathological: true
        }
    }

    /// Whether the data says who has what.
    public var isNatural: Bool {
        switch self {
        case .byColumn, .byFile: true
        default: false
        }
    }

    /// The examples of each part: every index exactly once, no part empty, in random order. Depends on the labels, the
    /// number of parts and the seed alone. Throws `usage` where that is impossible.
    public func indices(labels: [Int], parts: Int, seed: UInt64) throws(DeMLError) -> [[Int]] {
        try indices(labels, count: labels.count, parts: parts, seed: seed)
    }

    /// - Parameters:
    ///   - labels: may be empty where they do not matter.
    ///   - count: of the examples.
    fileprivate func indices(
        _ labels: [Int], count: Int, parts: Int, seed: UInt64
    ) throws(DeMLError) -> [[Int]] {
        guard parts >= 1 else { throw DeMLError(.usage, "\(parts) parts: there must be 1 or more") }
        guard count >= parts else {
            throw DeMLError(
                .usage, "\(count) examples cannot be divided into \(parts) parts without an empty one",
                hint: "use fewer parts")
        }
        var generator = SeededGenerator(seed: seed, purpose: "partition")
        switch self {
        case .iid:
            let order = generator.permutation(count)
            return Self.cut(order, Self.evenSizes(count, parts))
        case .dirichlet(let alpha):
            return Self.dirichlet(labels, parts, alpha, &generator)
        case .pathological(let shards):
            return try Self.pathological(labels, parts, shards, &generator)
        case .byColumn, .byFile:
            // The labels are the clients.
            var members = [[Int]](repeating: [], count: parts)
            for (index, client) in labels.enumerated() where members.indices.contains(client) {
                members[client].append(index)
            }
            return members
        case .quantity(let skew):
            let order = generator.permutation(count)
            let proportions = generator.dirichlet(alpha: skew, count: parts)
            return Self.cut(order, Self.sizes(count - parts, proportions).map { $0 + 1 })
        }
    }

    // MARK: - The divisions

    private static func dirichlet(
        _ labels: [Int], _ parts: Int, _ alpha: Double, _ generator: inout SeededGenerator
    ) -> [[Int]] {
        var shards = [[Int]](repeating: [], count: parts)
        for (_, members) in Dictionary(grouping: labels.indices, by: { labels[$0] }).sorted(by: { $0.key < $1.key }) {
            var members = members
            generator.shuffle(&members)
            let proportions = generator.dirichlet(alpha: alpha, count: parts)
            for (part, piece) in cut(members, sizes(members.count, proportions)).enumerated() {
                shards[part] += piece
            }
        }
        // A part that got nothing takes one example from the largest (the first of them).
        for part in shards.indices where shards[part].isEmpty {
            let sizes = shards.map(\.count)
            if let largest = sizes.indices.max(by: { (sizes[$0], -$0) < (sizes[$1], -$1) }) {
                shards[part].append(shards[largest].removeLast())
            }
        }
        for part in shards.indices { generator.shuffle(&shards[part]) }
        return shards
    }

    private static func pathological(
        _ labels: [Int], _ parts: Int, _ shardsPerClient: Int, _ generator: inout SeededGenerator
    ) throws(DeMLError) -> [[Int]] {
        let (pieces, overflow) = parts.multipliedReportingOverflow(by: shardsPerClient)
        guard !overflow, pieces <= labels.count else {
            throw DeMLError(
                .usage,
                "\(labels.count) examples cannot be cut into \(shardsPerClient) pieces for each of \(parts) parts",
                hint: "use fewer parts or fewer pieces")
        }
        // Random within a label: the places of the shuffled order break ties.
        let shuffled = generator.permutation(labels.count)
        let order = shuffled.enumerated()
            .sorted { (labels[$0.element], $0.offset) < (labels[$1.element], $1.offset) }.map(\.element)
        let cuts = cut(order, evenSizes(labels.count, pieces))
        let deal = generator.permutation(pieces)
        return (0..<parts).map { part in
            var shard = (0..<shardsPerClient).flatMap { cuts[deal[part * shardsPerClient + $0]] }
            generator.shuffle(&shard)
            return shard
        }
    }

    // MARK: - Sizes

    private static func cut(_ order: [Int], _ sizes: [Int]) -> [[Int]] {
        var start = 0
        return sizes.map { size in
            defer { start += size }
            return Array(order[start..<start + size])
        }
    }

    private static func evenSizes(_ count: Int, _ parts: Int) -> [Int] {
        (0..<parts).map { (count * ($0 + 1)) / parts - (count * $0) / parts }
    }

    /// Whole sizes with the sum `count`, nearest to the proportions: those with the largest remainders are rounded up.
    private static func sizes(_ count: Int, _ proportions: [Double]) -> [Int] {
        let exact = proportions.map { $0 * Double(count) }
        var sizes = exact.map { Int($0) }
        var missing = count - sizes.reduce(0, +)
        let byRemainder = exact.indices.sorted {
            (exact[$0] - Double(sizes[$0]), -$0) > (exact[$1] - Double(sizes[$1]), -$1)
        }
        while missing != 0 {
            for part in byRemainder where missing != 0 {
                let step = missing > 0 ? 1 : sizes[part] > 0 ? -1 : 0
                sizes[part] += step
                missing -= step
            }
        }
        return sizes
    }

    private static func concentration(_ argument: String, _ text: String) throws(DeMLError) -> Double {
        guard let value = Double(argument), value >= 1e-3, value <= 1e6 else {
            throw unknown(text, "the number must be between 0.001 and 1000000")
        }
        return value
    }

    private static func unknown(_ text: String, _ hint: String) -> DeMLError {
        DeMLError(.usage, "\(text.quotedForMessage) is no partition", hint: hint)
    }
}

extension Partition: Codable {
    public init(from decoder: any Decoder) throws {
        try self.init(parsing: try decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Dataset {
    /// The training examples of each part; throws `usage` where the partition needs labels and there are none.
    public func partition(_ partition: Partition, parts: Int, seed: UInt64) throws(DeMLError) -> [[Int]] {
        if partition.isNatural { return try naturalParts(partition, parts) }
        guard !partition.needsLabels || classes != nil else {
            throw DeMLError(
                .usage, "the partition \(partition) goes by classes, but the dataset has numbers to predict",
                place: name, hint: "use iid or quantity:SKEW")
        }
        let labels = partition.needsLabels ? try trainLabels() : []
        return try partition.indices(labels, count: train.count, parts: parts, seed: seed)
    }

    /// How many clients the data has by itself.
    public func clients(_ partition: Partition) throws(DeMLError) -> Int {
        guard let groups else {
            throw DeMLError(
                .usage, "the partition \(partition) needs data that says who has what", place: name,
                hint: partition == .byFile
                    ? "give a folder of several CSV files, texts or shards" : "give a table that has the column")
        }
        return groups.names.count
    }

    private func naturalParts(_ partition: Partition, _ parts: Int) throws(DeMLError) -> [[Int]] {
        let clients = try clients(partition)
        guard parts == clients, let groups else {
            throw DeMLError(
                .usage, "the partition \(partition) makes \(clients) clients, not \(parts)", place: name,
                hint: "leave the number out, or say \(clients)")
        }
        let members = try partition.indices(labels: groups.ids, parts: parts, seed: 0)
        if let empty = members.firstIndex(where: \.isEmpty) {
            throw DeMLError(
                .usage, "the client \(groups.names[empty].quotedForMessage) has rows in the test set only", place: name,
                hint: "use a smaller --test-fraction, or leave its rows out")
        }
        return members
    }
}
