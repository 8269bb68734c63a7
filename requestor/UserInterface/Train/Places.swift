import Application
import Foundation
import Tensors

/// Where the data and models lie that the page may name: datasets with names, what was uploaded, and what lies in the folder in
/// which `deml ui` was started. Links that lead out of it are followed and refused.
struct Places: Sendable {
    let application: DeMLApplication
    let uploads: Uploads

    private var paths: Paths { application.paths }

    /// An absolute path that `deml train` may be given, or the name of a dataset.
    func resolved(_ text: String) throws -> String {
        guard !text.isEmpty, !text.contains("\0"), text.utf8.count < 4096 else {
            throw PageError(.unprocessableContent, "this is no name of data", place: text)
        }
        if let id = text.wholeMatch(of: Uploads.reference)?.1 { return try uploads.content(String(id)) }
        if Paths.namedDatasets[text] != nil, !Files.exists(paths.resolved(text)) { return text }
        let path = paths.resolved(text)
        guard let real = Self.real(path) else {
            throw PageError(
                .notFound, "there is no such file or folder", place: paths.shown(path),
                hint: "name something in \(paths.workingFolder), or drop the file here")
        }
        let folder = Self.real(paths.workingFolder) ?? paths.workingFolder
        guard real == folder || real.hasPrefix(folder + "/") else {
            throw PageError(
                .forbidden, "this is outside the folder in which deml ui was started", place: paths.shown(path),
                hint: "copy it into \(folder), drop it here, or start deml ui there")
        }
        return path
    }

    /// The file of a model: of an upload of several what they are together.
    func model(_ text: String) throws -> String {
        guard let id = text.wholeMatch(of: Uploads.reference)?.1 else { return try resolved(text) }
        return try uploads.model(String(id)) { description, weights, output in
            _ = try application.export(
                ExportRequest(model: description, initialWeights: weights, format: .deml, output: output))
        }
    }

    /// Links followed.
    private static func real(_ path: String) -> String? {
        guard let text = realpath(path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }
}
