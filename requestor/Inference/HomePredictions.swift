import Federation
import Fleets
import Jobs
import NeuralNetwork
import Tensors

#if os(Linux)
    import Glibc
#endif

/// Computes rows of an answer again on this machine. The same model gives the same bytes for a row on every machine, with
/// any number of threads, and whatever other rows run with it.
struct HomePredictions: Sendable {
    let weights: WeightsFile
    /// All rows, `[N, …input shape]`.
    let rows: Tensor
    let form: WorkerJob.PredictionForm
    let threads: Int

    /// The digest of some rows of the answer: which they are, and what it says of them.
    /// - Parameters:
    ///   - drawn: numbers of rows within the answer.
    ///   - values: `[rows of the answer, outputs]`
    static func digest(_ drawn: [Int], of values: [Float], outputs: Int) -> String {
        var digest = SHA256Digest()
        for row in drawn {
            digest.update(Array("\(row) ".utf8))
            values[row * outputs..<(row + 1) * outputs].withUnsafeBytes { digest.update($0) }
        }
        return digest.hex()
    }

    /// - Parameters:
    ///   - drawn: numbers of rows within the shard, whose rows are `range`.
    ///   - isAgain: with other threads and, where there are some, other instructions: a machine that computes wrongly will
    ///     hardly do it in the same way twice.
    /// - Throws: `CancellationError`.
    func recompute(_ drawn: [Int], in range: Range<Int>, isAgain: Bool) async throws -> AuditMachine.Recomputation {
        try Task.checkCancellation()
        return try await onOwnThread(named: "audit") {
            #if os(Linux)
                // What brings answers home goes first; of this thread and of those that it starts.
                _ = nice(10)
            #endif
            return perform(drawn, range, isAgain)
        }
    }

    private func perform(_ drawn: [Int], _ range: Range<Int>, _ isAgain: Bool) -> AuditMachine.Recomputation {
        do throws(DeMLError) {
            let inputs = try Examples(
                x: rows.gatherRows(drawn.map { range.lowerBound + $0 }), targets: nil, for: weights.model)
            let evaluator = try Evaluator(
                model: weights.model, threads: isAgain ? max(1, threads / 2) : threads, examples: drawn.count,
                instructionSet: isAgain ? HomeTraining.otherInstructions : nil)
            let tensor = try evaluator.predict(weights, inputs, bare: form == .outputs)
            let (values, outputs) = (try tensor.floats(), tensor.rowCount)
            var digest = SHA256Digest()
            for (place, row) in drawn.enumerated() {
                digest.update(Array("\(row) ".utf8))
                values[place * outputs..<(place + 1) * outputs].withUnsafeBytes { digest.update($0) }
            }
            return .delta(digest: digest.hex())
        } catch {
            // Memory, threads: of this machine, not of the work.
            return error.code == .notFinite ? .refusal(code: error.code.rawValue) : .undone(error.summary)
        }
    }
}

extension AuditPolicy {
    /// How many rows of an answer are computed again: enough that who sends many wrong ones is found at once, few enough
    /// that home has a small part of the work.
    package func rows(of count: Int) -> Int {
        switch self {
        case .off: 0
        case .all: count
        case .auto: min(count, max(16, count / 50))
        case .share(let share): min(count, max(1, Int((Double(count) * share).rounded(.up))))
        }
    }

    /// So many different rows of `count`, in order, drawn by `random`.
    package func draw(of count: Int, using random: inout some RandomNumberGenerator) -> [Int] {
        let wanted = rows(of: count)
        guard wanted < count else { return Array(0..<count) }
        var chosen: Set<Int> = []
        // Floyd's algorithm (Bentley, "Programming pearls", CACM 1987): every set is as likely as any other.
        for last in count - wanted..<count {
            let row = Int.random(in: 0...last, using: &random)
            if !chosen.insert(row).inserted { chosen.insert(last) }
        }
        return chosen.sorted()
    }
}
