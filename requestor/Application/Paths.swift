import Foundation
import Tensors

/// Where the files are that a person names.
public struct Paths: Sendable {
    /// Where relative paths begin.
    public let workingFolder: String
    /// The program's own path, links followed, so that what comes with DeML is found beside it.
    public let executable: String
    private let home: String

    /// - Parameter home: what `~` stands for; by default the home folder of this process's user.
    public init(workingFolder: String, executable: String, home: String? = nil) {
        self.workingFolder = workingFolder
        self.executable = executable
        self.home = home ?? FileManager.default.homeDirectoryForCurrentUser.path
    }

    /// `path` seen from `folder`, by default the working folder; `~` is the home folder, an absolute path stays.
    public func resolved(_ path: String, from folder: String? = nil) -> String {
        if path.hasPrefix("/") { return Self.normalized(path) }
        if path == "~" || path.hasPrefix("~/") { return Self.normalized(home + path.dropFirst()) }
        return Self.normalized((folder ?? workingFolder) + "/" + path)
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

    /// As a person would write it: without the working folder in front.
    public func shown(_ path: String) -> String {
        let folder = workingFolder == "/" ? "/" : workingFolder + "/"
        return path.hasPrefix(folder) ? String(path.dropFirst(folder.count)) : path
    }

    /// Datasets that have a name, and where they may lie. MNIST comes with DeML, in a folder above the program.
    public static let namedDatasets: [String: [String]] = [
        "mnist": ["requestor/Datasets/mnist", "share/deml/mnist"],
        "fashion-mnist": ["/usr/share/datasets/fashion-mnist", "share/deml/fashion-mnist"],
    ]

    /// The path of a dataset: a path seen from `folder`, or a name from ``namedDatasets``.
    func dataset(_ text: String, from folder: String) throws(DeMLError) -> String {
        let path = resolved(text, from: folder)
        if Files.exists(path) { return path }
        for place in Self.namedDatasets[text] ?? [] {
            for ancestor in place.hasPrefix("/")
                ? [""] : Self.ancestors(of: executable) + Self.ancestors(of: workingFolder)
            {
                let candidate = place.hasPrefix("/") ? place : ancestor + "/" + place
                if Files.exists(candidate) { return Self.normalized(candidate) }
            }
        }
        let hint =
            text == "fashion-mnist" || text.hasSuffix("datasets/fashion-mnist")
            ? "apt-get install dataset-fashion-mnist, or name the folder with its four IDX files by --data"
            : "give a folder of IDX files, a .npz, CSV or safetensors file, or the name mnist or fashion-mnist"
        throw DeMLError(.notFound, "there is no such dataset", place: shown(path), hint: hint)
    }

    /// A file that comes with DeML: beside the program, in a folder above it, or above the working folder.
    package func shipped(_ path: String) -> String? {
        for start in [executable, workingFolder + "/x"] {
            var folder = (start as NSString).deletingLastPathComponent
            while folder.count > 1 {
                if Files.exists(folder + "/" + path) { return folder + "/" + path }
                folder = (folder as NSString).deletingLastPathComponent
            }
        }
        return nil
    }

    /// Makes a folder under `runs/` that was not there yet: `runs/NAME`, or with a number behind it.
    func reserveRunFolder(name: String) throws(DeMLError) -> String {
        let base = resolved("runs/" + name)
        try Files.createDirectory(Files.parent(of: base) ?? "/")
        var candidate = base
        var number = 2
        while true {
            do {
                try FileManager.default.createDirectory(atPath: candidate, withIntermediateDirectories: false)
                return candidate
            } catch {
                guard Files.exists(candidate) else {
                    throw DeMLError(.cannotCreate, "the folder cannot be made", place: shown(candidate), cause: error)
                }
            }
            candidate = "\(base)-\(number)"
            number += 1
        }
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
