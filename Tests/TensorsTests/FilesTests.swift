import Tensors
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

func removeFolder(_ path: String) -> Bool { rmdir(path) == 0 }

@Suite struct FilesTests {
    @Test func writingReplacesWholeFiles() throws {
        try withScratch { folder in
            let path = "\(folder)/file"
            try Files.writeAtomically([1, 2, 3], to: path)
            try Files.writeAtomically([4], to: path)
            #expect(try Files.read(path, maximumBytes: 1) == [4])
            #expect(try Files.prefix(of: path, count: 10) == [4])
            #expect(try Files.names(in: folder) == ["file"], "a temporary file was left")
            #expect(Files.size(of: path) == 1)
        }
    }

    @Test func failuresHaveCodesAndPlaces() throws {
        try withScratch { folder in
            let missing = "\(folder)/missing"
            #expect(failure { _ = try Files.read(missing, maximumBytes: 1) }?.code == .notFound)
            #expect(failure { _ = try Files.read(missing, maximumBytes: 1) }?.place == missing)
            #expect(
                failure { _ = try Files.read(folder, maximumBytes: 1) }?.summary
                    == "\(folder): it is a folder, but a file was expected")
            #expect(failure { _ = try Files.names(in: missing) }?.code == .notFound)
            #expect(failure { try Files.writeAtomically([1], to: "\(missing)/file") }?.code == .cannotCreate)
            #expect(failure { try Files.writeAtomically([1], to: folder) }?.code == .cannotCreate)
            #expect(failure { try Files.writeAtomically([1], to: "/dev/null") }?.code == .cannotCreate)
            try Files.writeAtomically([1, 2], to: "\(folder)/two")
            #expect(failure { _ = try Files.read("\(folder)/two", maximumBytes: 1) }?.code == .tooLarge)
            #expect(failure { try Files.createDirectory("\(folder)/two/below") }?.code == .cannotCreate)
            #expect(try Files.names(in: folder) == ["two"], "a temporary file was left")
        }
    }

    @Test func aPipeDoesNotHang() throws {
        try withScratch { folder in
            let path = "\(folder)/pipe"
            #expect(mkfifo(path, 0o600) == 0)
            #expect(failure { _ = try Files.read(path, maximumBytes: 1) }?.code == .io)
        }
    }

    @Test func foldersAreCreatedWithParents() throws {
        try withScratch { folder in
            try Files.createDirectory("\(folder)/a/b/")
            try Files.createDirectory("\(folder)/a/b")
            #expect(Files.isDirectory("\(folder)/a/b"))
            #expect(rmdir("\(folder)/a/b") == 0 && rmdir("\(folder)/a") == 0)
        }
    }

    @Test func pathsAreTakenApart() {
        #expect(Files.parent(of: "a/b") == "a")
        #expect(Files.parent(of: "a/b/") == "a")
        #expect(Files.parent(of: "/a") == "/")
        #expect(Files.parent(of: "a") == nil)
        #expect(Files.path("a/", "b") == "a/b" && Files.path("a", "b") == "a/b" && Files.path("", "b") == "b")
        #expect(Files.name(of: "a/b.c/") == "b.c")
    }

    @Test func errorsPrintAsATree() {
        let cause = DeMLError(.truncated, "the gzip stream ends early", place: "shard.gz", hint: "send it again")
        let error = DeMLError(.workerFailed, "worker 2 failed", cause: cause)
        #expect(
            error.description == """
                worker 2 failed
                  └─ shard.gz: the gzip stream ends early
                       hint: send it again
                """)
        #expect(cause.summary == "shard.gz: the gzip stream ends early (send it again)")
        #expect(cause.at("elsewhere").place == "shard.gz")
        #expect(cause.within("folder").place == "folder: shard.gz")
        #expect(error.at("here").place == "here")
    }
}
