import Application
import Federation
import Foundation
import Tensors

#if canImport(Glibc)
    import Glibc
#endif

/// Takes away uploads that nobody needs: they would fill the disk.
///
/// An upload stays
/// * for seven days after it was last used: sent, looked at, trained on, tried or predicted for;
/// * as long as a run under `runs/` names it as data, model or weights, for that run may be gone on with, looked at and
///   evaluated;
/// * as long as a process predicts for it, and where that was stopped halfway for thirty days: the same question goes on, and
///   answers of rented machines are paid for.
///
/// Only folders with names that ``Uploads`` has drawn are looked at, links are not followed, and where a run cannot be read
/// nothing is taken away.
struct UploadSweep: Sendable {
    /// Seconds that an upload is kept after its last use.
    static let kept = 7 * 86_400.0
    /// Seconds that one is kept whose prediction has not ended.
    static let keptUnfinished = 30 * 86_400.0
    /// Settings are read up to this size: more is nothing that DeML has written.
    private static let mostSettings = 64 << 20

    let uploads: Uploads
    /// The folder of the runs.
    let runs: String
    /// Whether a process writes to this log.
    let isWorking: @Sendable (String) -> Bool

    /// - Returns: the names of the uploads that are gone.
    /// - Throws: what reading a run or the folder of the uploads throws; then everything is as it was.
    func remove(now: Date) throws(DeMLError) -> [String] {
        guard Files.isDirectory(uploads.folder) else { return [] }
        let names = try Files.names(in: uploads.folder)
        // What a sweep has left that was ended in the middle.
        for name in names where name.hasPrefix(".removed-") {
            try? FileManager.default.removeItem(atPath: uploads.folder + "/" + name)
        }
        let old = names.filter { Uploads.isName($0) && isOld(uploads.folder + "/" + $0, now) }
        guard !old.isEmpty else { return [] }
        let needed = try named()
        return old.filter { name in
            !needed.contains(name) && !isWorking(uploads.folder + "/" + name + "/." + Uploads.log)
                && uploads.remove(name) { isOld($0, now) }
        }
    }

    private func isOld(_ path: String, _ now: Date) -> Bool {
        guard let used = Self.lastUse(path) else { return false }
        let isUnfinished = Files.isDirectory(path + "/." + Uploads.work)
        return now.timeIntervalSince1970 - used > (isUnfinished ? Self.keptUnfinished : Self.kept)
    }

    /// When the folder, or something in it, was last changed; nil for what is no folder.
    private static func lastUse(_ path: String) -> Double? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
        var newest = Double(status.st_mtim.tv_sec)
        for name in (try? Files.names(in: path)) ?? [] where lstat(path + "/" + name, &status) == 0 {
            newest = max(newest, Double(status.st_mtim.tv_sec))
        }
        return newest
    }

    /// The uploads that runs and unfinished predictions name, wherever in their settings.
    private func named() throws(DeMLError) -> Set<String> {
        var files: [String] = []
        for name in try Files.names(in: runs) where !name.hasPrefix(".") && Files.isDirectory(runs + "/" + name) {
            let folder = RunFolder(path: runs + "/" + name)
            files += [folder.config, folder.data, BackgroundRuns.request(of: folder)]
        }
        for name in try Files.names(in: uploads.folder) where Uploads.isName(name) {
            files.append(uploads.folder + "/" + name + "/." + Uploads.work + "/question.json")
        }
        var found: Set<String> = []
        for file in files where Files.exists(file) {
            let bytes = try Files.read(file, maximumBytes: Self.mostSettings)
            for match in String(decoding: bytes, as: UTF8.self).matches(of: Self.mention) {
                found.insert(String(match.1))
            }
        }
        return found
    }

    /// In JSON a `/` may be written as `\/`.
    private static var mention: Regex<(Substring, Substring)> { /\.uploads\\?\/([0-9a-f]{16})/ }

    /// Once now, and then every hour, until the task is cancelled.
    func repeated(every pause: Duration = .seconds(3600)) async {
        while !Task.isCancelled {
            // What cannot be read today may be tomorrow; nobody waits for it.
            _ = try? await atLeisure { try remove(now: Date()) }
            try? await Task.sleep(for: pause)
        }
    }
}
