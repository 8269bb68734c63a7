import Datasets
import Inference
import NeuralNetwork
import Tensors

/// A text that a model is to go on with.
public struct GenerateRequest: Sendable {
    /// A weights file, or a run folder (its best model).
    public var model: String
    public var prompt: String
    /// Tokens to write.
    public var tokens: Int
    public var sampling: TextGenerator.Sampling
    public var threads: Int?

    public init(
        model: String, prompt: String, tokens: Int = 500, sampling: TextGenerator.Sampling = .init(),
        threads: Int? = nil
    ) {
        self.model = model
        self.prompt = prompt
        self.tokens = tokens
        self.sampling = sampling
        self.threads = threads
    }
}

extension Application {
    /// Writes on from a prompt. Same model, prompt and settings: same text, on every machine.
    /// - Parameter onText: gets the text as it comes, a piece for a token or, of bytes, for a whole character; it ends where
    ///   this says false.
    /// - Returns: what was written, without the prompt.
    public func generate(_ request: GenerateRequest, onText: (String) -> Bool = { _ in true }) throws -> String {
        let writer = try TextWriter(request, paths)
        let prompt = try writer.ids(of: request.prompt)
        var decoder = TextStream(writer.vocabulary)
        var written = ""
        try writer.generator.generate(after: prompt, count: request.tokens, request.sampling) { id in
            let piece = decoder.add(id)
            written += piece
            return piece.isEmpty || onText(piece)
        }
        let rest = decoder.finish()
        if !rest.isEmpty { _ = onText(rest) }
        return written + rest
    }

    /// The same text as ``generate(_:onText:)`` gives, written by a machine of a fleet, and checked by computing tokens of it
    /// again here (``FleetPlace/audit``). Another machine gets it where one fails or lies.
    /// - Parameter progress: told what happens, one event at a time.
    /// - Throws: `DeMLError`; ``Inference/InferenceInterrupted`` when the task was cancelled.
    public func generate(
        _ request: GenerateRequest, on place: FleetPlace, progress: @escaping @Sendable (InferenceEvent) -> Void
    ) async throws -> (text: String, result: InferenceResult) {
        var place = place
        // One prompt is one job.
        place.machines = place.machines ?? 1
        let fleet = try fleet(place)
        let writer = try TextWriter(request, paths)
        let prompt = try writer.ids(of: request.prompt)
        guard !prompt.isEmpty else { throw DeMLError(.missing, "there is no text to begin with", place: "the prompt") }
        let (row, text) = TextContinuation.row(
            of: prompt, context: writer.generator.context, tokens: request.tokens, sampling: request.sampling)
        try text.validate()
        let inference = try inference(
            writer.model, rows: row, form: .text(text), place: place, folder: nil, name: "generate",
            names: (paths.shown(writer.model.path), "the prompt", "text"))
        let result = try await inference.run(on: fleet, progress: try tellingCost(place, progress))
        var decoder = TextStream(writer.vocabulary)
        let written = try inference.values().reduce(into: "") { $0 += decoder.add(Int($1)) } + decoder.finish()
        inference.removeFolder()
        return (written, result)
    }

    /// What a model of text takes for the likeliest to follow, the likeliest first: characters, or bytes by their numbers.
    /// - Parameter most: so many at most.
    public func likeliest(
        _ most: Int, after prompt: String, model: String
    ) throws -> [(token: String, probability: Double)] {
        let writer = try TextWriter(model, threads: nil, paths)
        return try writer.generator.likeliest(most, after: try writer.ids(of: prompt)).map {
            (writer.vocabulary == .bytes ? String($0.token) : writer.vocabulary.text(of: [$0.token]), $0.probability)
        }
    }
}

/// A model that writes, with its tokens.
private struct TextWriter {
    let model: ModelArgument
    let vocabulary: TextVocabulary
    let generator: TextGenerator

    init(_ model: String, threads: Int?, _ paths: Paths) throws {
        self.model = try ModelArgument(model, paths)
        do throws(DeMLError) {
            guard case .tokens(_, let names) = self.model.schema.features else {
                throw DeMLError(.usage, "the model takes no text", hint: "deml predict uses it on examples")
            }
            vocabulary = try TextVocabulary(names: names)
            generator = try TextGenerator(self.model.weights, threads: try Threads.checked(threads))
        } catch {
            throw error.within(paths.shown(self.model.path))
        }
    }

    /// For a request whose number of tokens can be written.
    init(_ request: GenerateRequest, _ paths: Paths) throws {
        guard (1...TextContinuation.mostTokens).contains(request.tokens) else {
            throw DeMLError(.usage, "--tokens is to be from 1 to 10,000,000, not \(request.tokens)")
        }
        try self.init(request.model, threads: request.threads, paths)
    }

    func ids(of prompt: String) throws(DeMLError) -> [Int32] {
        do throws(DeMLError) { return try vocabulary.ids(of: prompt) } catch { throw error.within("the prompt") }
    }
}

/// Tokens on their way to text: the bytes of a character are kept until it is whole.
private struct TextStream {
    private let vocabulary: TextVocabulary
    private var pending: [Int] = []

    init(_ vocabulary: TextVocabulary) { self.vocabulary = vocabulary }

    mutating func add(_ id: Int) -> String {
        guard vocabulary == .bytes else { return vocabulary.text(of: [id]) }
        pending.append(id)
        // UTF-8's longest character has four bytes.
        guard pending.count >= 4 || String(validating: pending.map { UInt8($0) }, as: UTF8.self) != nil else {
            return ""
        }
        return finish()
    }

    mutating func finish() -> String {
        defer { pending = [] }
        return pending.isEmpty ? "" : vocabulary.text(of: pending)
    }
}
