import Application
import Fleets
import Foundation
import Hummingbird
import NeuralNetwork
import Tensors

/// A model of text at work: it writes on from a prompt, and every piece is sent as soon as it is there.
struct TextRoutes: Sendable {
    let application: DeMLApplication
    /// The weights that a name stands for.
    let model: @Sendable (PageContext) async throws -> String
    /// Texts that are written at a time: each has processors to itself.
    private let limit = Limit(4) { "\($0) texts are being written already" }

    /// Tokens of a text at most; who wants more has a terminal.
    static let mostTokens = 10_000
    /// Bytes of a prompt at most: of a long one the model sees the end.
    static let longestPrompt = 64 << 10

    init(application: DeMLApplication, model: @escaping @Sendable (PageContext) async throws -> String) {
        self.application = application
        self.model = model
    }

    private struct Wish: Decodable {
        var prompt: String
        var tokens: Int?
        var temperature: Double?
        /// As `deml generate --top-k`: draw among so many.
        var topK: Int?
        var seed: UInt64?
    }

    private struct End: Encodable {
        /// Characters, as a reader counts them.
        var characters: Int
        var seconds: Double
    }

    private struct Likely: Encodable {
        var token: String
        var probability: Double
    }

    private static func check(_ prompt: String) throws {
        guard prompt.isEmpty || prompt.utf8.count > longestPrompt else { return }
        throw PageError(
            .unprocessableContent,
            prompt.isEmpty ? "there is no text to go on with" : "the text to go on with is too long",
            place: "prompt", hint: "type some words; \(longestPrompt >> 10) kB may be sent")
    }

    func add(to router: Router<PageContext>) {
        router.post("/api/models/:model/next") { request, context in
            struct Wish: Decodable { var prompt: String }
            let model = try await model(context)
            let wish = try await request.json(Wish.self)
            try Self.check(wish.prompt)
            let found = try await atLeisure { try application.likeliest(8, after: wish.prompt, model: model) }
            return try Response.json(["tokens": found.map { Likely(token: $0.token, probability: $0.probability) }])
        }
        router.post("/api/models/:model/generate") { request, context in
            let model = try await model(context)
            let wish = try await request.json(Wish.self)
            let tokens = wish.tokens ?? 500
            guard (1...Self.mostTokens).contains(tokens) else {
                throw PageError(
                    .unprocessableContent, "a text is to have from 1 to \(Self.mostTokens) tokens, not \(tokens)",
                    place: "tokens", hint: "deml generate writes longer ones")
            }
            try Self.check(wish.prompt)
            let sampling = TextGenerator.Sampling(
                temperature: wish.temperature ?? 1, topK: wish.topK, seed: wish.seed ?? 0)
            do { try sampling.validate() } catch { throw PageError(error) }
            let asked = GenerateRequest(model: model, prompt: wish.prompt, tokens: tokens, sampling: sampling)
            return Response.events { writer in
                try limit.enter()
                defer { limit.leave() }
                try await write(asked, &writer)
            }
        }
    }

    /// Events `text` while it is written, at the end `done`. Who goes away stops it.
    private func write(_ asked: GenerateRequest, _ writer: inout any ResponseBodyWriter) async throws {
        let (pieces, continuation) = AsyncThrowingStream.makeStream(of: String.self)
        let isGone = StopFlag()
        continuation.onTermination = { _ in isGone.raise() }
        let start = ContinuousClock.now
        // A thread of its own: this may take minutes, and those of the server are few.
        async let writing: Void = onOwnThread(named: "text") {
            do {
                _ = try application.generate(asked) { piece in
                    continuation.yield(piece)
                    return !isGone.isUp
                }
                continuation.finish()
            } catch { continuation.finish(throwing: error) }
        }
        var characters = 0
        do {
            for try await piece in pieces {
                let text = piece.harmlessLines(maximum: 4096)
                characters += text.count
                try await writer.event("text", ["text": text])
            }
        } catch {
            isGone.raise()
            throw error
        }
        try await writing
        try await writer.event(
            "done", End(characters: characters, seconds: (ContinuousClock.now - start) / .seconds(1)))
    }
}
