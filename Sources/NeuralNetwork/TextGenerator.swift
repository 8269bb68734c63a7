import Tensors

/// Writes on, token by token, with a model that says of each token of a text what may follow. To be used by one caller at
/// a time.
///
/// The tokens depend on weights, beginning, and settings alone: number `n` is drawn with the first number of
/// `SeededGenerator(seed: seed, purpose: "generation", n)`.
public final class TextGenerator {
    /// How the next token is drawn.
    public struct Sampling: Sendable, Equatable {
        /// Logits are divided by it: below 1 the likely become likelier; 0: always the likeliest, of equals the first.
        public var temperature: Double
        /// Only so many of the likeliest are drawn from; nil: all.
        public var topK: Int?
        public var seed: UInt64

        public init(temperature: Double = 1, topK: Int? = nil, seed: UInt64 = 0) {
            self.temperature = temperature
            self.topK = topK
            self.seed = seed
        }

        /// Throws `outOfRange`.
        public func validate() throws(DeMLError) {
            guard temperature >= 0, temperature <= 1000 else {
                throw DeMLError(.outOfRange, "the temperature \(temperature) is not between 0 and 1000")
            }
            if let topK, topK < 1 {
                throw DeMLError(.outOfRange, "top_k \(topK) leaves no token to draw from")
            }
        }
    }

    private let network: Network
    private let tokens: Int
    private let length: Int
    private let classes: Int
    private var input: [Float]

    /// Throws `usage` for a model that does not say what follows each token.
    public init(
        _ weights: some ModelWeights, threads: Int = 1, instructionSet: InstructionSet? = nil
    ) throws(DeMLError) {
        let model = weights.model
        guard let tokens = model.input.tokens, model.labelsTokens, model.labelsPerExample == model.inputShape[0],
            model.classes <= tokens
        else {
            throw DeMLError(
                .usage, "the model does not say what follows each token of a text",
                hint: "one that does has input: {tokens: …} and outputs [tokens, classes], as deml train makes of text")
        }
        self.tokens = tokens
        length = model.inputShape[0]
        classes = model.classes
        input = [Float](repeating: 0, count: length)
        network = try Network(
            model: model, purpose: .inference, batchCapacity: 1,
            kernels: try KernelPool(threads: threads, instructionSet: instructionSet))
        try network.load(weights)
    }

    /// Tokens that the model looks at at once.
    public var context: Int { length }

    /// The tokens that follow `beginning`, one after the other, each told to `onToken` until that says false.
    ///
    /// Of a text longer than the model's context its end counts. A shorter one is followed by zeros, of which a model that
    /// looks at no later tokens knows nothing. Throws `outOfRange` for an id that is no token, `missing` for an empty
    /// beginning, `notFinite` where the model's answer is no number.
    public func generate(
        after beginning: [Int32], count: Int, _ sampling: Sampling, onToken: (Int) -> Bool
    ) throws(DeMLError) {
        try sampling.validate()
        var text = try end(of: beginning)
        for number in 0..<count {
            let logits = try logits(of: text)
            let next = Self.draw(logits, sampling, number: number)
            guard onToken(next) else { return }
            text.append(next)
            if text.count > length { text.removeFirst() }
        }
    }

    /// One token of those that ``generate(after:count:_:onToken:)`` gives: the one of that number, from 0, where `text` is
    /// the beginning and all tokens before it. So a part of a text can be checked without writing all of it.
    public func token(_ number: Int, after text: [Int32], _ sampling: Sampling) throws(DeMLError) -> Int {
        try sampling.validate()
        return Self.draw(try logits(of: try end(of: text)), sampling, number: number)
    }

    /// The likeliest tokens behind `beginning` and how likely each is, of all tokens; at most so many. Throws as
    /// ``generate(after:count:_:onToken:)``.
    public func likeliest(
        _ most: Int, after beginning: [Int32]
    ) throws(DeMLError) -> [(token: Int, probability: Double)] {
        let logits = try logits(of: try end(of: beginning))
        let order = logits.indices.sorted { (-logits[$0], $0) < (-logits[$1], $1) }
        let weights = logits.map { PortableMath.exp(Double($0) - Double(logits[order[0]])) }
        let total = weights.reduce(0, +)
        return order.prefix(most).map { ($0, weights[$0] / total) }
    }

    /// The part of a text that the model looks at.
    private func end(of beginning: [Int32]) throws(DeMLError) -> [Int] {
        guard !beginning.isEmpty else { throw DeMLError(.missing, "there is no text to begin with") }
        if let id = beginning.first(where: { $0 < 0 || $0 >= tokens }) {
            throw DeMLError(.outOfRange, "the token \(id) is not in 0 ..< \(tokens)")
        }
        return beginning.suffix(length).map { Int($0) }
    }

    /// What the model says of the token behind the text.
    private func logits(of text: [Int]) throws(DeMLError) -> [Float] {
        for index in input.indices { input[index] = index < text.count ? Float(text[index]) : 0 }
        input.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            network.setInput(base, isBytes: false, rows: nil, count: 1)
        }
        network.forward()
        let row = network.output.values + (text.count - 1) * classes
        let logits = Array(UnsafeBufferPointer(start: row, count: classes))
        if let odd = logits.first(where: { !$0.isFinite }) {
            throw DeMLError(.notFinite, "the model's answer is \(odd)")
        }
        return logits
    }

    /// By IEEE operations alone: the same token on every machine.
    static func draw(_ logits: [Float], _ sampling: Sampling, number: Int) -> Int {
        let order = logits.indices.sorted { (-logits[$0], $0) < (-logits[$1], $1) }
        guard sampling.temperature > 0, sampling.topK != 1 else { return order[0] }
        let candidates = order.prefix(sampling.topK ?? order.count)
        let highest = Double(logits[order[0]])
        let weights = candidates.map { PortableMath.exp((Double(logits[$0]) - highest) / sampling.temperature) }
        var generator = SeededGenerator(
            seed: sampling.seed, purpose: "generation", UInt32(truncatingIfNeeded: number))
        var rest = generator.uniform() * weights.reduce(0, +)
        for (candidate, weight) in zip(candidates, weights) {
            rest -= weight
            if rest < 0 { return candidate }
        }
        return candidates[candidates.count - 1]
    }
}
