// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title How every contract refuses the signatures of members
interface IQuorum {
    /// @notice Somebody in the bitmap of signers is not an active member of the roster.
    error SignersOutsideRoster(uint256 signers, uint256 active);

    /// @notice Fewer members signed than a quorum.
    error QuorumNotReached(uint256 needed, uint256 found);

    /// @notice Signatures are 64 bytes for each member in the bitmap of signers.
    error SignaturesLengthMismatch(uint256 expected, uint256 found);

    /// @notice The signature in the place of the member with roster index `index` is not that member's.
    error InvalidSignature(uint256 index);
}
