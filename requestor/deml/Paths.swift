import Foundation
import Tensors

/// Where the files are that a person names.
enum Paths {
    /// `path` seen from `folder`; `~` is the home folder, an absolute path stays.
    static func resolved(_ path: String, from folder: String) -> String {
        if path.hasPrefix("/") { return normalized(path) }
        if path == "~" || path.hasPrefix("~/") {
            return normalized(FileManager.default.homeDirectoryForCurrentUser.path + path.dropFirst())
        }
        return normalized(folder + "/" + path)
    }

    /// Without `.` and `..`, as text: links are not followed.
    static func normalized(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/", omittingEmptySubsequences: true) where part != "." {
            if part == "..", let last = parts.last, last != ".." {
                parts.removeLast()
            } else if part != ".." || !path.hasPrefix("/") {
                parts.append(part)
            }
        }
        return (path.hasPrefix("/") ? "/" : "")
            + (parts.isEmpty && !path.hasPrefix("/") ? "." : parts.joined(separator: "/"))
    }

    static var workingFolder: String { FileManager.default.currentDirectoryPath }

    /// This program's own path, links followed, so that what comes with DeML is found beside it.
    static var executable: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    }

    /// As a person would write it: without the working folder in front.
    static func shown(_ path: String) -> String {
        let folder = workingFolder == "/" ? "/" : workingFolder + "/"
        return path.hasPrefix(folder) ? String(path.dropFirst(folder.count)) : path
    }

    /// Datasets that have a name, and where they may lie. MNIST comes with DeML, in a folder above the program.
    static let namedDatasets: [String: [String]] = [
        "mnist": ["requestor/Datasets/mnist", "share/deml/mnist"],
        "fashion-mnist": ["/usr/share/datasets/fashion-mnist", "share/deml/fashion-mnist"],
    ]

    /// The path of a dataset: a path seen from `folder`, or a name from ``namedDatasets``.
    static func dataset(_ text: String, from folder: String) throws(DeMLError) -> String {
        let path = resolved(text, from: folder)
        if Files.exists(path) { return path }
        for place in namedDatasets[text] ?? [] {
            for ancestor in place.hasPrefix("/") ? [""] : ancestors(of: executable) + ancestors(of: workingFolder) {
                let candidate = place.hasPrefix("/") ? place : ancestor + "/" + place
                if Files.exists(candidate) { return normalized(candidate) }
            }
        }
        let hint =
            text == "fashion-mnist" || text.hasSuffix("datasets/fashion-mnist")
            ? "apt-get install dataset-fashion-mnist, or name the folder with its four IDX files by --data"
            : "give a folder of IDX files, a .npz, CSV or safetensors file, or the name mnist or fashion-mnist"
        throw DeMLError(.notFound, "there is no such dataset", place: shown(path), hint: hint)
    }

    private static func ancestors(of path: String) -> [String] {
        var folders: [String] = []
        var parts = path.split(separator: "/")
        while !parts.isEmpty {
            parts.removeLast()
            folders.append("/" + parts.joined(separator: "/"))
        }
        return folders
    }
}
