import Tensors

/// The arrays of an `.npz` file as `np.savez` and `np.savez_compressed` write it: a zip of `.npy` files, stored or
/// deflated, with zip64 where it must be (APPNOTE.TXT of PKWARE; numpy.lib.format).
public struct NPZ {
    private let archive: ZipArchive
    private let maximumBytes: Int

    /// Reads the directory. `maximumBytes` limits each array.
    public init(_ bytes: [UInt8], maximumBytes: Int = 4 << 30) throws(DeMLError) {
        archive = try ZipArchive(bytes)
        self.maximumBytes = maximumBytes
    }

    /// The names of the arrays, in the order of the file.
    public var names: [String] {
        archive.members.map { $0.name.hasSuffix(".npy") ? String($0.name.dropLast(4)) : $0.name }
    }

    /// The array of the name; nil where there is none. Stored arrays are slices of the file, without a copy.
    public func tensor(_ name: String) throws(DeMLError) -> Tensor? {
        guard let member = archive.members.first(where: { $0.name == name + ".npy" }) else { return nil }
        do throws(DeMLError) {
            return try NPY.tensor(try archive.content(of: member, maximumBytes: maximumBytes))
        } catch {
            throw error.within(member.name.quotedForMessage)
        }
    }

    /// As ``tensor(_:)``, texts too.
    func array(_ name: String) throws(DeMLError) -> SourceArray? {
        guard let member = archive.members.first(where: { $0.name == name + ".npy" }) else { return nil }
        do throws(DeMLError) {
            return try NPY.array(try archive.content(of: member, maximumBytes: maximumBytes))
        } catch {
            throw error.within(member.name.quotedForMessage)
        }
    }
}
