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
            let path = try model(context)
            return try Response.json(try await atLeisure { try Inputs(application.modelInputs(path)) })
        }
        router.post("/api/models/:model/predict/picture") { request, context in
            let model = try model(context)
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
            let model = try model(context)
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
        router.post("/api/models/:model/predict/file") { request, context in
            struct Wish: Decodable {
                var data: String
                /// Decimal mark and so on, where that is not found out.
                var decimal: String?
                var header: Bool?
            }
            let model = try model(context)
            let wish = try await request.json(Wish.self)
            let path = try places.resolved(wish.data)
            let id = try wish.data.wholeMatch(of: Uploads.reference).map { String($0.1) } ?? uploads.begin()
            let output = try uploads.own(id, Uploads.answers)
            return try Response.json(
                try await atLeisure {
                    var data = DataRequest(data: path)
                    data.decimal = wish.decimal.flatMap(DecimalMark.init)
                    data.header = wish.header
                    let answer = try application.predict(
                        PredictRequest(model: model, data: data, part: .all, count: 0, output: output))
                    return Answer(answer, most: 20, download: "/api/uploads/\(id)/predictions")
                })
        }
        router.get("/api/uploads/:id/predictions") { _, context in
            let id = context.parameters.get("id") ?? ""
            return try await Response.file(
                try uploads.own(id, Uploads.answers), type: "text/csv; charset=utf-8", download: "predictions.csv",
                context: context)
        }
    }

    /// The weights that are meant: the best of a run, or a file that was dropped.
    func model(_ context: PageContext) throws -> String {
        let text = context.parameters.get("model") ?? ""
        let name = text.removingPercentEncoding ?? text
        if let id = name.wholeMatch(of: Uploads.reference)?.1 { return try uploads.content(String(id)) }
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

    /// `table`, `pictures`, `text` or `numbers`.
    var kind: String
    var shape: [Int]
    var columns: [Column]
    /// Of a text: characters or bytes.
    var tokens: String?
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
        if case .tokens(_, let vocabulary) = found.schema.features, found.writesText {
            (kind, columns, tokens) = ("text", [], vocabulary == nil ? "bytes" : "characters")
            return
        }
        guard case .table(let features) = found.schema.features else {
            kind = isPicture ? "pictures" : "numbers"
            columns = []
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
