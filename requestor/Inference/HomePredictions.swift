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
    ///   - drawn: numbers of rows within the answer; of a text, of its tokens.
    ///   - values: `[rows of the answer, outputs]`; of a text `[tokens, 1]`.
    static func digest(_ drawn: [Int], of values: [Float], outputs: Int) -> String {
        digest(drawn, drawn.map { values[$0 * outputs..<($0 + 1) * outputs] })
    }

    private static func digest(_ drawn: [Int], _ values: [ArraySlice<Float>]) -> String {
        var digest = SHA256Digest()
        for (row, values) in zip(drawn, values) {
            digest.update(Array("\(row) ".utf8))
            values.withUnsafeBytes { digest.update($0) }
        }
        return digest.hex()
    }

    /// - Parameters:
    ///   - drawn: numbers of rows within the shard, whose rows are `range`; of a text, of its tokens.
    ///   - answer: what came, of which a text's tokens are computed from those before them; nil where nothing did.
    ///   - isAgain: with other threads and, where there are some, other instructions: a machine that computes wrongly will
    ///     hardly do it in the same way twice.
    /// - Throws: `CancellationError`.
    func recompute(
        _ drawn: [Int], in range: Range<Int>, of answer: [Float]?, isAgain: Bool
    ) async throws -> AuditMachine.Recomputation {
        try Task.checkCancellation()
        return try await onOwnThread(named: "audit") {
            #if os(Linux)
                // What brings answers home goes first; of this thread and of those that it starts.
                _ = nice(10)
            #endif
            return perform(drawn, range, answer, isAgain)
        }
    }

    private func perform(
        _ drawn: [Int], _ range: Range<Int>, _ answer: [Float]?, _ isAgain: Bool
    ) -> AuditMachine.Recomputation {
        let threads = isAgain ? max(1, threads / 2) : threads
        let instructions = isAgain ? HomeTraining.otherInstructions : nil
        do throws(DeMLError) {
            if case .text(let text) = form {
                let row = rows.rows(range)
                let written: [Float]
                if let answer {
                    written = answer
                } else {
                    written = try text.values(
                        weights, Examples(x: row, targets: nil, for: weights.model), threads: threads,
                        instructionSet: instructions
                    ).floats()
                }
                let ids = try text.recomputed(
                    drawn, of: written, weights, row, threads: threads, instructionSet: instructions)
                return .delta(digest: Self.digest(drawn, ids.indices.map { ids[$0...$0] }))
            }
            let inputs = try Examples(
                x: rows.gatherRows(drawn.map { range.lowerBound + $0 }), targets: nil, for: weights.model)
            let evaluator = try Evaluator(
                model: weights.model, threads: threads, examples: drawn.count, instructionSet: instructions)
            let tensor = try evaluator.predict(weights, inputs, bare: form == .outputs)
            let (values, outputs) = (try tensor.floats(), tensor.rowCount)
            return .delta(
                digest: Self.digest(drawn, drawn.indices.map { values[$0 * outputs..<($0 + 1) * outputs] }))
        } catch {
            // Memory, threads: of this machine, not of the work.
            return error.code == .notFinite ? .refusal(code: error.code.rawValue) : .undone(error.summary)
        }
    }
}

extension WorkerJob.PredictionForm {
    /// What of an answer can be computed again by itself: its rows, or the tokens of a text.
    func parts(rows: Int) -> Int {
        if case .text(let text) = self { text.tokens } else { rows }
    }

    /// Forward passes that a row takes.
    var passes: Double {
        if case .text(let text) = self { Double(text.tokens) } else { 1 }
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
