import Application
import Hummingbird
import Tensors

/// A model for another tool: everything that `deml export` writes.
struct ExportRoutes: Sendable {
    let application: DeMLApplication
    let uploads: Uploads
    /// The weights that a name stands for.
    let model: @Sendable (PageContext) async throws -> String

    /// The format, and the ending of the file that is sent.
    private static let formats: [String: (format: ExportFormat, ending: String)] = [
        "onnx": (.onnx, ".onnx"), "keras": (.keras, ".keras"), "state_dict": (.safetensors, ".safetensors"),
        "module": (.pytorch, ".py"), "deml": (.deml, ".safetensors"),
    ]

    func add(to router: Router<PageContext>) {
        router.get("/api/models/:model/export") { request, context in
            let wanted = request.query("as") ?? ""
            guard let (format, ending) = Self.formats[wanted] else {
                throw PageError(
                    .unprocessableContent, "models are not written so", place: wanted,
                    hint: Self.formats.keys.sorted().joined(separator: ", ") + " are known")
            }
            let model = try await model(context)
            let stem = FileName.plain(Self.stem(context, model))
            let application = application
            return try await uploads.sent(name: stem + ending, context: context) { folder in
                let path = folder + "/" + stem + (format == .pytorch ? ".safetensors" : ending)
                _ = try application.export(ExportRequest(model: model, format: format, output: path))
                return folder + "/" + stem + ending
            }
        }
    }

    /// The name of the run, or of the file that was dropped.
    private static func stem(_ context: PageContext, _ model: String) -> String {
        let text = context.parameters.get("model") ?? ""
        let name = text.removingPercentEncoding ?? text
        guard name.wholeMatch(of: Uploads.reference) != nil else { return name }
        return Files.name(of: model).split(separator: ".").first.map(String.init) ?? "model"
    }
}
