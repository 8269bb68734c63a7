import Tensors

/// A text to be written on, as a job has it: one row of tokens, the beginning of which is the prompt, and what is to come of
/// it. The same weights, row and settings give the same tokens on every machine (``TextGenerator``).
public struct TextContinuation: Sendable, Equatable {
    /// Tokens of the prompt, at the beginning of the row; what is behind them in the row does not count.
    public var length: Int
    /// Tokens to write.
    public var tokens: Int
    public var sampling: TextGenerator.Sampling

    /// Tokens that may be asked for.
    public static let mostTokens = 10_000_000

    public init(length: Int, tokens: Int, sampling: TextGenerator.Sampling = .init()) {
        self.length = length
        self.tokens = tokens
        self.sampling = sampling
    }

    /// Throws `outOfRange`.
    public func validate() throws(DeMLError) {
        guard length >= 1 else { throw DeMLError(.outOfRange, "the text to go on with has \(length) tokens") }
        guard (1...Self.mostTokens).contains(tokens) else {
            throw DeMLError(.outOfRange, "tokens \(tokens) is not between 1 and \(Self.mostTokens)")
        }
        try sampling.validate()
    }

    /// The row `[1, context]` of a prompt, of which only what the model can look at counts, and what is asked of it.
    public static func row(
        of prompt: [Int32], context: Int, tokens: Int, sampling: TextGenerator.Sampling
    ) -> (x: Tensor, continuation: TextContinuation) {
        let kept = Array(prompt.suffix(context))
        let row = kept + [Int32](repeating: 0, count: context - kept.count)
        return (
            Tensor(shape: [1, context], int32s: row),
            TextContinuation(length: kept.count, tokens: tokens, sampling: sampling)
        )
    }

    /// The prompt in a row of inputs. Throws `shape` where it is not one row that holds it.
    func prompt(of x: Tensor) throws(DeMLError) -> [Int32] {
        guard x.shape.count == 2, x.shape[0] == 1, length <= x.shape[1] else {
            throw DeMLError(.shape, "a text to go on with is one row of \(length) tokens or more, but x is \(x.shape)")
        }
        // As they are stored, or as a network reads them.
        guard x.dtype.isInteger else { return try x.floats().prefix(length).map { Int32($0) } }
        return try x.integers().prefix(length).map { Int32(truncatingIfNeeded: $0) }
    }

    /// Writes on: the ids `[1, tokens]`, as numbers.
    /// - Parameters:
    ///   - shouldStop: asked after each token; where it says true, less is written.
    ///   - examples: one row.
    public func values(
        _ weights: some ModelWeights, _ examples: Examples, threads: Int, instructionSet: InstructionSet? = nil,
        shouldStop: () -> Bool = { false }
    ) throws(DeMLError) -> Tensor {
        try validate()
        let generator = try TextGenerator(weights, threads: threads, instructionSet: instructionSet)
        var ids: [Float] = []
        try generator.generate(after: try prompt(of: examples.x), count: tokens, sampling) { id in
            ids.append(Float(id))
            return !shouldStop()
        }
        return Tensor(shape: [1, ids.count], floats: ids)
    }

    /// Some tokens of a text, computed again from what stands before each of them in it.
    /// - Parameters:
    ///   - numbers: which, from 0.
    ///   - written: the ids of the text, as ``values(_:_:threads:instructionSet:shouldStop:)`` gave them.
    public func recomputed(
        _ numbers: [Int], of written: [Float], _ weights: some ModelWeights, _ x: Tensor, threads: Int,
        instructionSet: InstructionSet? = nil
    ) throws(DeMLError) -> [Float] {
        let generator = try TextGenerator(weights, threads: threads, instructionSet: instructionSet)
        let text = try prompt(of: x) + written.map { Int32($0) }
        var ids: [Float] = []
        for number in numbers {
            ids.append(Float(try generator.token(number, after: Array(text[..<(length + number)]), sampling)))
        }
        return ids
    }
}

extension TextContinuation: Codable {
    private static let keys = ["length", "tokens", "temperature", "top_k", "seed"]

    public init(from decoder: any Decoder) throws {
        let keys = try StrictContainer(decoder, "the text", keys: Self.keys)
        let standard = TextGenerator.Sampling()
        self.init(
            length: try keys.required("length", Int.self), tokens: try keys.required("tokens", Int.self),
            sampling: TextGenerator.Sampling(
                temperature: try keys.optional("temperature", Double.self) ?? standard.temperature,
                topK: try keys.optional("top_k", Int.self),
                seed: try keys.optional("seed", UInt64.self) ?? standard.seed))
        try validate()
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        try container.encode(length, forKey: TextKey("length"))
        try container.encode(tokens, forKey: TextKey("tokens"))
        try container.encode(sampling.temperature, forKey: TextKey("temperature"))
        try container.encodeIfPresent(sampling.topK, forKey: TextKey("top_k"))
        try container.encode(sampling.seed, forKey: TextKey("seed"))
    }
}
