import Aggregation
import Tensors
import TestSupport
import Testing

@Suite("Averaging")
struct AggregationTests {
    // Deltas, weights and constants: see Reference/aggregation.py, which also prints the constants anew.
    private static let count = 1000
    private static let sizes = [100, 50, 250, 1, 99]
    private static let shown = [0, 1, 7, 100, 999]

    private func update(_ client: Int, scale: Float = 1) -> Update {
        Update(
            client: client, examples: Self.sizes[client],
            values: (0..<Self.count).map { Float((37 * $0 + 11 * client) % 97 - 48) / 64 * scale })
    }

    private func updates(scale: Float = 1) -> [Update] { (0..<5).map { update($0, scale: scale) } }

    /// The average of updates that came in this order: taken one by one where all will come, from the shelf else.
    private func average(
        _ updates: [Update], clipping: NormClipping? = nil, isComplete: Bool = true, memory: Int = 1 << 20
    ) throws -> [Double] {
        let scratch = try ScratchFolder()
        var average = Aggregator(rule: FederatedAveraging(), optimizer: ServerMomentum(), clipping: clipping).average(
            of: updates.map(\.client), totalExamples: isComplete ? updates.reduce(0) { $0 + $1.examples } : nil,
            on: DeltaShelf(parameters: updates[0].values.count, folder: scratch.path, memory: memory))
        for update in updates { try average.add(update) }
        return try average.finish()
    }

    private var weights: [Float] { (0..<Self.count).map { Float((29 * $0) % 31 - 15) / 16 } }

    private func expectClose(_ values: [Double], _ expected: [Double], _ tolerance: Double = 1e-8) {
        for (value, expected) in zip(values, expected) {
            #expect(abs(value - expected) <= tolerance * max(1, abs(expected)), "\(value) is not \(expected)")
        }
    }

    @Test("two clients by hand: (1·[1,2] + 3·[5,-2]) / 4 = [4,-1]")
    func byHand() throws {
        let updates = [
            Update(client: 0, examples: 1, values: [1, 2]), Update(client: 1, examples: 3, values: [5, -2]),
        ]
        #expect(try average(updates) == [4, -1])
        #expect(try average(updates, isComplete: false) == [4, -1])
    }

    @Test("the mean of the deltas, weighted by examples")
    func weighted() throws {
        let average = try average(updates())
        expectClose(
            Self.shown.map { average[$0] }, [-0.42378125, 0.15434375, 0.28871875, -0.20503125, -0.33003125], 1e-14)
    }

    @Test("partial work by hand: (3/4 + 1/4 · 1/2) · (3/4 · [4,8] + 1/4 · 2 · [2,-2]) = 7/8 · [4,5]")
    func partialWork() throws {
        let average = try average(
            [
                Update(client: 0, examples: 3, values: [4, 8]),
                Update(client: 1, examples: 1, values: [2, -2], workDone: 0.5),
            ], isComplete: false, memory: 0)
        #expect(average == [3.5, 4.375])
    }

    @Test("where all have done the same share of their work, the average is that of their deltas")
    func equalShares() throws {
        let whole = try average(updates(), isComplete: false)
        let half = try average(
            updates().map { Update(client: $0.client, examples: $0.examples, values: $0.values, workDone: 0.5) },
            isComplete: false)
        expectClose(half, whole, 1e-14)
    }

    /// A client that says it was stopped after its first step moves the average no farther than one that did all of them.
    @Test("clipping bounds what enters the average, however little a client has done", arguments: [1, 0.5, 0.01, 1e-6])
    func clippedPartialWork(share: Double) throws {
        for length in [0.001, 1, 1000] as [Float] {
            let updates = [
                Update(client: 0, examples: 3, values: [0, 0]),
                Update(client: 1, examples: 1, values: [0.6 * length, -0.8 * length], workDone: share),
            ]
            let average = try average(updates, clipping: NormClipping(norm: 5), isComplete: false)
            // Its quarter of what its whole training would have given, at most 5 long, times the work done of all.
            let whole = min(5, Double(length) / share)
            let expected = (0.75 + 0.25 * share) * 0.25 * whole
            expectClose(average, [0.6 * expected, -0.8 * expected], 1e-5)
            #expect((average[0] * average[0] + average[1] * average[1]).squareRoot() <= 1.2501)
        }
    }

    @Test("a share of the work that nobody can have done is refused", arguments: [0.0, -1, 1.5, .nan, .infinity])
    func impossibleShare(share: Double) {
        let error = #expect(throws: DeMLError.self) {
            try Update(client: 0, examples: 1, values: [1], workDone: share).check(parameters: 1, maximumNorm: nil)
        }
        #expect(error?.code == .outOfRange)
    }

    /// As the average was written down at first, all deltas at once; what the two other ways are to give, bit for bit.
    private func plain(_ updates: [Update]) -> [Double] {
        let updates = updates.sorted { $0.client < $1.client }
        let total = updates.reduce(0.0) { $0 + Double($1.examples) }
        return updates[0].values.indices.map { index in
            var sum = 0.0
            for update in updates { sum += Double(update.examples) / total * Double(update.values[index]) }
            return sum
        }
    }

    @Test("neither the order in which deltas come nor where they wait changes a bit")
    func order() throws {
        let updates = (0..<17).map { client in
            Update(
                client: 3 * client, examples: 1 + client * 7,
                values: (0..<5000).map { Float($0 % 13) / Float(client + 3) })
        }
        let expected = plain(updates)
        var random = SeededGenerator(seed: 1, purpose: "orders")
        for number in 0..<12 {
            var shuffled = updates
            if number > 0 { random.shuffle(&shuffled) }
            for isComplete in [true, false] {
                for memory in [0, 5 * 20_000, 1 << 20] {
                    #expect(try average(shuffled, isComplete: isComplete, memory: memory) == expected)
                }
            }
        }
        let descending = Array(updates.reversed())
        #expect(try average(descending, memory: 0) == expected)
    }

    @Test("five hundred clients in almost their order keep a few deltas, in any other order a few in memory")
    func fewAreKept() throws {
        let scratch = try ScratchFolder()
        let clients = Array(0..<500)
        func peak(_ order: [Int], isComplete: Bool = true) throws -> (memory: Int, file: Int) {
            var average = Aggregator(rule: FederatedAveraging(), optimizer: ServerMomentum()).average(
                of: clients, totalExamples: isComplete ? 500 : nil,
                on: DeltaShelf(parameters: 100, folder: scratch.path, memory: 1600))
            for client in order {
                try average.add(
                    Update(client: client, examples: 1, values: [Float](repeating: Float(client), count: 100)))
            }
            let peak = (average.shelf.peakInMemory, average.shelf.peakInFile)
            #expect(try average.finish().allSatisfy { abs($0 - 249.5) < 1e-9 })
            return peak
        }
        #expect(try peak(clients) == (0, 0))
        // As four workers give them back: each is at most a few too early.
        let four = stride(from: 0, to: 500, by: 4).flatMap { [$0 + 3, $0 + 1, $0 + 2, $0] }
        #expect(try peak(four) == (3, 0))
        #expect(try peak(clients.reversed()) == (4, 495))
        #expect(try peak(clients, isComplete: false) == (4, 496))
        #expect(try Files.names(in: scratch.path).isEmpty, "temporary files have no name")
    }

    /// A rule that needs all deltas of a coordinate at once.
    struct Median: AggregationRule {
        func average(_ deltas: DeltaShelf) throws(DeMLError) -> [Double] {
            var medians: [Double] = []
            try deltas.forEachBlock(memory: 5 * 4 * 64) { coordinates, values in
                #expect(coordinates.lowerBound == medians.count && values.count == coordinates.count * deltas.count)
                for column in 0..<coordinates.count {
                    let sorted = (0..<deltas.count).map { values[$0 * coordinates.count + column] }.sorted()
                    medians.append(Double(sorted[deltas.count / 2]))
                }
            }
            return medians
        }
    }

    @Test(
        "a rule that needs all deltas gets them in blocks of coordinates, from memory and file",
        arguments: [0, 1 << 20])
    func blocks(memory: Int) throws {
        let scratch = try ScratchFolder()
        var average = Aggregator(rule: Median(), optimizer: ServerMomentum()).average(
            of: Array(0..<5), totalExamples: 500,
            on: DeltaShelf(parameters: Self.count, folder: scratch.path, memory: memory))
        for client in [3, 0, 4, 1, 2] { try average.add(update(client)) }
        let updates = updates()
        let expected = (0..<Self.count).map { index in Double(updates.map { $0.values[index] }.sorted()[2]) }
        #expect(try average.finish() == expected)
    }

    @Test(
        "server steps",
        arguments: [
            (1.0, 0.0, false, [-1.67911719, 1.14510156, 0.630257813, -0.233804687, -0.452554687]),
            (0.5, 0.0, false, [-1.30830859, 1.01005078, 0.377628906, -0.0544023437, -0.163777344]),
            (1.0, 0.9, false, [-2.59448469, 1.47848406, 1.25389031, -0.676672188, -1.16542219]),
            (1.0, 0.9, true, [-3.17040341, 1.68823722, 1.64625909, -0.955309656, -1.61393466]),
        ])
    func serverSteps(rate: Double, momentum: Double, isNesterov: Bool, expected: [Double]) throws {
        var aggregator = Aggregator(
            rule: FederatedAveraging(),
            optimizer: ServerMomentum(learningRate: rate, momentum: momentum, isNesterov: isNesterov))
        var weights = weights
        for round in 0..<3 {
            weights = try aggregator.step(weights, average: average(updates(scale: 1 / Float(1 << round)))).weights
        }
        expectClose(Self.shown.map { Double(weights[$0]) }, expected, 3e-7)
    }

    @Test("running statistics become the clients' average, whatever the server's optimiser does")
    func buffers() throws {
        var aggregator = Aggregator(
            rule: FederatedAveraging(), optimizer: ServerMomentum(learningRate: 0.5, momentum: 0.9))
        var weights: [Float] = [1, 1, 1, 1]
        for _ in 0..<3 {
            weights = try aggregator.step(weights, average: [1, 2, 4, 1], buffers: [1..<2, 2..<3]).weights
        }
        // The others: 1 + 0.5·(1 + 1.9 + 2.71).
        #expect(weights[1] == 7 && weights[2] == 13)
        #expect(abs(weights[0] - 3.805) < 1e-6 && weights[3] == weights[0])
    }

    @Test("an optimiser that is put back from its state goes on with the same bits")
    func restoredState() throws {
        var undisturbed = Aggregator(
            rule: FederatedAveraging(), optimizer: ServerMomentum(momentum: 0.9, isNesterov: true))
        var first = weights
        for _ in 0..<4 { first = try undisturbed.step(first, average: average(updates())).weights }

        var second = weights
        var state: [String: [Double]] = [:]
        for _ in 0..<4 {
            var restored = Aggregator(
                rule: FederatedAveraging(), optimizer: ServerMomentum(momentum: 0.9, isNesterov: true))
            restored.optimizer.state = state
            second = try restored.step(second, average: average(updates())).weights
            state = restored.optimizer.state
        }
        #expect(first == second)
        #expect(state["velocity"]?.count == Self.count)
    }

    @Test("long deltas are scaled down to the norm, short ones left alone")
    func clipping() throws {
        let clipping = NormClipping(norm: 5)
        for update in updates() {
            #expect(update.norm > 5)
            #expect(abs(clipping.clipped(update).norm - 5) < 1e-5)
        }
        let short = update(0, scale: 0.01)
        #expect(clipping.clipped(short).values == short.values)
        var aggregator = Aggregator(rule: FederatedAveraging(), optimizer: ServerMomentum())
        let moved = try aggregator.step(
            [Float](repeating: 0, count: Self.count), average: average(updates(), clipping: clipping)
        ).weights
        expectClose(
            Self.shown.map { Double(moved[$0]) },
            [-0.153107506, 0.0558096593, 0.104299309, -0.0740577677, -0.119229047], 1e-6)
    }

    @Test("the norm of 3, 4 and 12 is 13, in any place of a long delta")
    func norm() {
        for start in [0, 5, 6, 40] {
            var values = [Float](repeating: 0, count: 43)
            values[start] = 3
            values[start + 1] = 4
            values[start + 2] = 12
            #expect(Update(client: 0, examples: 1, values: values).norm == 13)
        }
        #expect(Update(client: 0, examples: 1, values: []).norm == 0)
    }

    @Test("NaN, infinity, a wrong number of values, no examples and too long a delta are refused")
    func checks() throws {
        let good = Update(client: 0, examples: 1, values: [1, 2, 2])
        try good.check(parameters: 3, maximumNorm: nil)
        try good.check(parameters: 3, maximumNorm: 3)
        func code(_ update: Update, parameters: Int = 3, maximumNorm: Double? = nil) -> DeMLError.Code? {
            do throws(DeMLError) { try update.check(parameters: parameters, maximumNorm: maximumNorm) } catch {
                return error.code
            }
            return nil
        }
        #expect(code(good, parameters: 4) == .shape)
        #expect(code(good, maximumNorm: 2.99) == .outOfRange)
        #expect(code(Update(client: 0, examples: 0, values: [1, 2, 2])) == .outOfRange)
        for place in [0, 7, 8, 21] {
            for bad in [Float.nan, .infinity, -.infinity] {
                var values = [Float](repeating: 0.5, count: 22)
                values[place] = bad
                #expect(code(Update(client: 0, examples: 1, values: values), parameters: 22) == .notFinite)
            }
        }
    }

    @Test("a step out of the range of float32 is refused")
    func overflow() {
        var aggregator = Aggregator(rule: FederatedAveraging(), optimizer: ServerMomentum(learningRate: 1e30))
        #expect(throws: DeMLError.self) {
            try aggregator.step([0], average: [1e20])
        }
    }
}
