// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IQuorum} from "./interfaces/IQuorum.sol";

/// @title A roster that lies in code, and what a quorum of it has signed
/// @notice The one place where members' signatures are counted, for results, changes, pauses and rulings alike.
library Rosters {
    /// @notice EIP-2098: r, then s with the parity of v in its highest bit.
    uint256 internal constant SIGNATURE_BYTES = 64;

    /// @notice The signers by roster index, zero where a member is gone, and the quorum, kept at `code`.
    function read(address code) internal view returns (address[] memory keys, uint256 needed) {
        (,,, keys, needed,) = abi.decode(code.code, (uint256, address, uint64, address[], uint256, bytes32));
    }

    /// @notice Bitmap of the roster indices that have a signer.
    function active(address[] memory keys) internal pure returns (uint256 bitmap) {
        for (uint256 index; index < keys.length; ++index) {
            if (keys[index] != address(0)) bitmap |= 1 << index;
        }
    }

    /// @notice Reverts unless a quorum of different active members signed `signed`.
    /// @param signers Bit i is set if the member with roster index i signed.
    /// @param signatures 64 bytes for each signer, by ascending roster index.
    function requireQuorum(
        bytes32 signed,
        uint256 signers,
        bytes calldata signatures,
        address[] memory keys,
        uint256 needed
    ) internal pure {
        uint256 bitmap = active(keys);
        // A member that is gone has no key, which is also what a broken signature recovers to.
        if (signers & ~bitmap != 0) revert IQuorum.SignersOutsideRoster(signers, bitmap);
        uint256 count = countBits(signers);
        if (count < needed) revert IQuorum.QuorumNotReached(needed, count);
        if (signatures.length != SIGNATURE_BYTES * count) {
            revert IQuorum.SignaturesLengthMismatch(SIGNATURE_BYTES * count, signatures.length);
        }
        uint256 start;
        for (uint256 index; index < keys.length; ++index) {
            if ((signers >> index) & 1 == 0) continue;
            if (recover(signed, signatures[start:start + SIGNATURE_BYTES]) != keys[index]) {
                revert IQuorum.InvalidSignature(index);
            }
            start += SIGNATURE_BYTES;
        }
    }

    /// @notice Who made this 64-byte signature; the zero address if nobody did.
    /// @dev What recovery refuses, a mirrored s among it, gives the zero address, which is nobody's signer.
    function recover(bytes32 signed, bytes calldata signature) internal pure returns (address signer) {
        (signer,,) = ECDSA.tryRecover(signed, bytes32(signature[:32]), bytes32(signature[32:]));
    }

    /// @notice Number of set bits.
    function countBits(uint256 bitmap) internal pure returns (uint256 count) {
        for (; bitmap != 0; bitmap &= bitmap - 1) ++count;
    }
}
