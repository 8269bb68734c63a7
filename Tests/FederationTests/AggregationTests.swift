import Federation
import Tensors
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

    private var weights: [Float] { (0..<Self.count).map { Float((29 * $0) % 31 - 15) / 16 } }

    private func expectClose(_ values: [Double], _ expected: [Double], _ tolerance: Double = 1e-8) {
        for (value, expected) in zip(values, expected) {
            #expect(abs(value - expected) <= tolerance * max(1, abs(expected)), "\(value) is not \(expected)")
        }
    }

    @Test("two clients by hand: (1·[1,2] + 3·[5,-2]) / 4 = [4,-1]")
    func byHand() {
        let average = FederatedAveraging().average([
            Update(client: 0, examples: 1, values: [1, 2]), Update(client: 1, examples: 3, values: [5, -2]),
        ])
        #expect(average == [4, -1])
    }

    @Test("the mean of the deltas, weighted by examples")
    func weighted() {
        let average = FederatedAveraging().average(updates())
        expectClose(
            Self.shown.map { average[$0] }, [-0.42378125, 0.15434375, 0.28871875, -0.20503125, -0.33003125], 1e-14)
    }

    @Test("partial work by hand: (3/4 + 1/4 · 1/2) · (3/4 · [4,8] + 1/4 · 2 · [2,-2]) = 7/8 · [4,5]")
    func partialWork() {
        let average = FederatedAveraging().average([
            Update(client: 0, examples: 3, values: [4, 8]),
            Update(client: 1, examples: 1, values: [2, -2], workDone: 0.5),
        ])
        #expect(average == [3.5, 4.375])
    }

    @Test("where all have done the same share of their work, the average is that of their deltas")
    func equalShares() {
        let whole = FederatedAveraging().average(updates())
        let half = FederatedAveraging().average(
            updates().map { Update(client: $0.client, examples: $0.examples, values: $0.values, workDone: 0.5) })
        expectClose(half, whole, 1e-14)
    }

    @Test("a share of the work that nobody can have done is refused", arguments: [0.0, -1, 1.5, .nan, .infinity])
    func impossibleShare(share: Double) {
        let error = #expect(throws: DeMLError.self) {
            try Update(client: 0, examples: 1, values: [1], workDone: share).check(parameters: 1, maximumNorm: nil)
        }
        #expect(error?.code == .outOfRange)
    }

    @Test("the order in which deltas came does not change a bit")
    func order() {
        let updates = (0..<17).map { client in
            Update(
                client: client, examples: 1 + client * 7, values: (0..<5000).map { Float($0 % 13) / Float(client + 3) })
        }
        let expected = FederatedAveraging().average(updates)
        var random = SeededGenerator(seed: 1, purpose: "orders")
        for _ in 0..<10 {
            var shuffled = updates
            random.shuffle(&shuffled)
            #expect(FederatedAveraging().average(shuffled) == expected)
        }
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
            weights = try aggregator.step(weights, updates: updates(scale: 1 / Float(1 << round))).weights
        }
        expectClose(Self.shown.map { Double(weights[$0]) }, expected, 3e-7)
    }

    @Test("an optimiser that is put back from its state goes on with the same bits")
    func restoredState() throws {
        var undisturbed = Aggregator(
            rule: FederatedAveraging(), optimizer: ServerMomentum(momentum: 0.9, isNesterov: true))
        var first = weights
        for _ in 0..<4 { first = try undisturbed.step(first, updates: updates()).weights }

        var second = weights
        var state: [String: [Double]] = [:]
        for _ in 0..<4 {
            var restored = Aggregator(
                rule: FederatedAveraging(), optimizer: ServerMomentum(momentum: 0.9, isNesterov: true))
            restored.optimizer.state = state
            second = try restored.step(second, updates: updates()).weights
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
        var aggregator = Aggregator(rule: FederatedAveraging(), optimizer: ServerMomentum(), clipping: clipping)
        let moved = try aggregator.step([Float](repeating: 0, count: Self.count), updates: updates()).weights
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
            try aggregator.step([0], updates: [Update(client: 0, examples: 1, values: [1e20])])
        }
    }
}
