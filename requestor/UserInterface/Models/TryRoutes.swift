import Application
import Datasets
import Federation
import Foundation
import Hummingbird
import NeuralNetwork
import Tensors

/// A model at work: what it says of a drawing, a picture, a row, or a whole file.
struct TryRoutes: Sendable {
    let library: RunLibrary
    let uploads: Uploads
    let places: Places

    private var application: DeMLApplication { library.application }
    /// A picture that is larger is no drawing.
    private static let largestPicture = 32 << 20

    func add(to router: Router<PageContext>) {
        router.get("/api/models/:model/inputs") { _, context in
            let path = try await model(context)
            return try Response.json(try await atLeisure { try Inputs(application.modelInputs(path)) })
        }
        router.post("/api/models/:model/predict/picture") { request, context in
            let model = try await model(context)
            let bytes = Array(buffer: try await request.body.collect(upTo: Self.largestPicture))
            let invert = request.query("invert") == "true"
            let center = request.query("center").map { $0 == "true" }
            return try Response.json(
                try await atLeisure {
                    Answer(
                        try application.predict(
                            PredictRequest(model: model, invert: invert, centers: center, picture: bytes)))
                })
        }
        router.post("/api/models/:model/predict/row") { request, context in
            struct Wish: Decodable { var values: [[String]] }
            let model = try await model(context)
            let wish = try await request.json(Wish.self)
            guard !wish.values.isEmpty, wish.values.count <= 4096, wish.values.allSatisfy({ $0.count == 2 }) else {
                throw PageError(.unprocessableContent, "a row is names and values")
            }
            let id = try uploads.begin()
            let file = try uploads.own(id, "row.csv")
            let folder = Files.parent(of: file) ?? file
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let lines = [0, 1].map { column in wish.values.map { Self.quoted($0[column]) }.joined(separator: ",") }
            try Files.writeAtomically(Array((lines.joined(separator: "\n") + "\n").utf8), to: file)
            do {
                return try Response.json(
                    try await atLeisure {
                        var data = DataRequest(data: file)
                        data.header = true
                        return Answer(try application.predict(PredictRequest(model: model, data: data, part: .all)))
                    })
            } catch var error as DeMLError {
                // The file is ours and of no interest.
                error.place = "the row"
                throw error
            }
        }
        router.post("/api/models/:model/predict/text") { request, context in
            struct Wish: Decodable {
                var text: String
                /// `front` or `behind`.
                var filled: String?
                var blanks: Bool?
                var bytes: Bool?
            }
            let model = try await model(context)
            let wish = try await request.json(Wish.self)
            guard wish.text.utf8.count <= TextRoutes.longestPrompt else {
                throw PageError(
                    .unprocessableContent, "the text is too long", place: "text",
                    hint: "\(TextRoutes.longestPrompt >> 10) kB may be sent; drop a file with more")
            }
            guard let filled = TypedText.End(rawValue: wish.filled ?? "behind") else {
                throw PageError(.unprocessableContent, "a text is filled in front or behind", place: "filled")
            }
            let text = TypedText(
                wish.text, filled: filled, fillsWithBlanks: wish.blanks ?? false, isBytes: wish.bytes ?? false)
            return try Response.json(
                try await atLeisure {
                    var request = PredictRequest(model: model)
                    request.text = text
                    return Answer(try application.predict(request))
                })
        }
        router.post("/api/models/:model/predict/file") { request, context in
            struct Wish: Decodable {
                var data: String
                /// Decimal mark and so on, where that is not found out.
                var decimal: String?
                var header: Bool?
            }
            let model = try await model(context)
            let wish = try await request.json(Wish.self)
            let path = try places.resolved(wish.data)
            let id = try wish.data.wholeMatch(of: Uploads.reference).map { String($0.1) } ?? uploads.begin()
            let output = try uploads.own(id, Uploads.answers)
            let description = try uploads.own(id, Uploads.description)
            return try Response.json(
                try await atLeisure {
                    var data = DataRequest(data: path)
                    data.decimal = wish.decimal.flatMap(DecimalMark.init)
                    data.header = wish.header
                    try remember(model, description)
                    let answer = try application.predict(
                        PredictRequest(model: model, data: data, part: .all, count: 0, output: output))
                    return Answer(answer, most: 20, download: "/api/uploads/\(id)/predictions")
                })
        }
        router.get("/api/uploads/:id/predictions") { request, context in
            try await download(context.parameters.get("id") ?? "", request, context)
        }
    }

    /// Keeps beside the predictions which model they are of: they are sent in many forms.
    func remember(_ model: String, _ path: String) throws {
        let inputs = try application.modelInputs(model)
        guard !inputs.writesText else {
            throw PageError(
                .unprocessableContent, "the model says what follows each token of a text",
                hint: "type a beginning; deml predict --output writes its numbers as .npz or .safetensors")
        }
        try Files.writeAtomically(Array(inputs.description.utf8), to: path)
    }

    private static let types: [PredictionFormat: String] = [
        .csv: "text/csv; charset=utf-8", .jsonl: "application/x-ndjson; charset=utf-8",
        .npz: "application/octet-stream", .safetensors: "application/octet-stream",
    ]

    /// Predictions as `deml predict` writes them.
    private func download(_ id: String, _ request: Request, _ context: PageContext) async throws -> Response {
        let (answers, description) = (
            try uploads.own(id, Uploads.answers), try uploads.own(id, Uploads.description)
        )
        guard Files.exists(answers), Files.exists(description) else {
            throw PageError(.notFound, "nothing was predicted for this file yet")
        }
        guard let format = PredictionFormat(rawValue: request.query("as") ?? "csv"),
            let contents = PredictionContents(rawValue: request.query("contents") ?? "all"),
            let top = Int(request.query("top") ?? "3")
        else {
            throw PageError(
                .unprocessableContent, "predictions are not written so",
                hint: "as=csv, npz, safetensors or jsonl; contents=all, top or classes; top=3")
        }
        let application = application
        let name = "predictions." + format.rawValue
        return try await uploads.sent(
            name: name, type: Self.types[format] ?? "application/octet-stream", context: context
        ) { folder in
            let model = String(decoding: try Files.read(description, maximumBytes: 1 << 20), as: UTF8.self)
            try application.rewrite(
                answers, of: model, to: folder + "/" + name,
                as: PredictionWriting(format, contents: contents, top: top))
            return folder + "/" + name
        }
    }

    /// The weights that are meant: the best of a run, or a file that was dropped.
    func model(_ context: PageContext) async throws -> String {
        let text = context.parameters.get("model") ?? ""
        let name = text.removingPercentEncoding ?? text
        guard name.wholeMatch(of: Uploads.reference) == nil else {
            return try await atLeisure { try places.model(name) }
        }
        let folder = try library.folder(name)
        guard Files.exists(folder.best) else {
            throw PageError(.notFound, "the run has no model yet", place: name, hint: "wait for its first round")
        }
        return folder.best
    }

    /// A field of a CSV file (RFC 4180).
    private static func quoted(_ text: String) -> String { "\"" + text.replacing("\"", with: "\"\"") + "\"" }
}

/// What a model takes, for a form.
private struct Inputs: Encodable, Sendable {
    struct Column: Encodable {
        var name: String
        var kind: String
        var values: [String]?
        /// Where most values are, to begin with.
        var usual: Double?
    }

    /// `table`, `pictures`, `text` (it is written on), `tokens` (something is said of a whole text) or `numbers`.
    var kind: String
    var shape: [Int]
    var columns: [Column]
    /// Of a text: characters, bytes, words or numbers.
    var tokens: String?
    /// How many there are.
    var tokenCount: Int?
    var classes: [String]?
    var targets: [String]
    var digits: Bool

    init(_ found: ModelInputs) {
        shape = found.shape
        digits = found.knowsDigits
        classes = found.schema.classNames?.prefix(200).map { $0.harmless(maximum: 80) }
        targets = found.schema.classNames == nil ? found.schema.targetColumns.map { $0.harmless(maximum: 80) } : []
        let isPicture =
            (shape.count == 3 && [1, 3].contains(shape[0]) && shape[1] >= 8 && shape[2] >= 8)
            || (shape.count == 2 && shape[0] >= 8 && shape[1] >= 8)
        if let names = found.tokens {
            (kind, columns) = (found.writesText ? "text" : "tokens", [])
            tokenCount = found.schema.tokens
            tokens =
                switch names {
                case .characters: "characters"
                case .bytes: "bytes"
                case .words: names.isNumbers ? "numbers" : "words"
                }
            return
        }
        guard case .table(let features) = found.schema.features else {
            kind = isPicture ? "pictures" : "numbers"
            // A few numbers in a row are columns without names.
            let count = !isPicture && shape.count == 1 && shape[0] <= 64 ? shape[0] : 0
            columns = (0..<count).map { Column(name: "\($0)", kind: "number", usual: 0) }
            return
        }
        kind = "table"
        columns = features.prefix(300).map { feature in
            // As it is called: the row is looked up by it.
            switch feature.kind {
            case .number(let mean, _): Column(name: feature.name, kind: "number", usual: mean)
            case .category(let values): Column(name: feature.name, kind: "category", values: Array(values.prefix(500)))
            }
        }
    }
}

/// What a model says.
private struct Answer: Encodable, Sendable {
    struct Row: Encodable {
        var example: Int
        var predicted: String?
        var probability: Double?
        var truth: String?
        /// Class and probability, the most likely first; or name and number.
        var outputs: [Output]
    }
    struct Output: Encodable {
        var name: String
        var value: Double
    }
    struct Frame: Encodable {
        var width: Int
        var height: Int
        var values: [Int]
    }

    var rows: [Row]
    var count: Int
    var right: Int?
    var judged: Int
    var notes: [[String]]
    var seen: Frame?
    var download: String?

    init(_ answer: PredictAnswer, most: Int = 1, download: String? = nil) {
        count = answer.predictions.count
        let judgedRows = answer.predictions.filter { $0.truth != nil && $0.predicted != nil }
        judged = judgedRows.count
        right = judgedRows.isEmpty ? nil : judgedRows.count { $0.truth == $0.predicted }
        notes = answer.notes.map { [$0.subject.harmless(maximum: 100), $0.text.harmless(maximum: 1000)] }
        self.download = download
        rows = answer.predictions.prefix(most).map { row in
            let isClasses = row.predicted != nil
            var outputs = row.outputs.enumerated().map {
                Output(name: isClasses ? answer.name(ofClass: $0).harmless(maximum: 80) : "\($0)", value: $1)
            }
            if isClasses { outputs.sort { ($0.value, $1.name) > ($1.value, $0.name) } }
            return Row(
                example: row.example, predicted: row.predicted?.harmless(maximum: 80), probability: row.probability,
                truth: row.truth?.harmless(maximum: 80), outputs: Array(outputs.prefix(12)))
        }
        if most == 1, let frame = answer.predictions.isEmpty ? nil : answer.pictures?.frame(0) {
            seen = Frame(
                width: frame.width, height: frame.height,
                values: frame.values.map { Int(max(0, min(255, ($0 * 255).rounded()))) })
        }
    }
}
